"""An image's features: VGG, its convolutions, and its weights made even."""

"""How far an image is from what it should be: equations, targets, tiles, the loss and its
gradient."""

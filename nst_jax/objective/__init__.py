"""How far an image is from its aims: equations, targets, tiles, loss and gradient."""

"""How pixels move: optax transformations, none of which knows what a loss is made of."""

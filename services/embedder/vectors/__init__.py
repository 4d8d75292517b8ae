"""What is made of a model's vectors before they are kept or sent."""

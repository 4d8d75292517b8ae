"""How sure a whole answer is: the model's own confidence, calibrated, and checks of the answer's form."""

"""SigLIP and ColPali: text and pictures as vectors."""

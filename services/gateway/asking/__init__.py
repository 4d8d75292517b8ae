"""Questions to a collection: what is found is read, and the answer says from where."""

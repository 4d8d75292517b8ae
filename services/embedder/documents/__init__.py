"""Files as what is found in them: pictures, pages and moments."""

"""Media that a request names but does not hold: uploads and addresses, turned into bytes."""

"""What authenticates a request: the forms credentials take, and where they come from."""

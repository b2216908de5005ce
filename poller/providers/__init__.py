"""Asking providers about their tasks: specs as data, one interpreter, requests and signatures."""

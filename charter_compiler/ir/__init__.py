"""The intermediate representation: frozen nodes, one text form that prints and parses back, and its verifier."""

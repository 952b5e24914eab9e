"""Python source to IR, statically: the source is parsed and interpreted symbolically, never imported or run."""

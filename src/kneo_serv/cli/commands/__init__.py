"""One file per group of commands. Each reads its words, makes one call, and shows the answer."""

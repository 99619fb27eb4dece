"""Use cases: the only room where engine, store, tools and runtimes meet."""

"""Reading of workflow documents: YAML text in, a checked spec and a plan out."""

"""The factors of domain section 4: one pure module each, from running state to {value, quality, ready, detail}."""

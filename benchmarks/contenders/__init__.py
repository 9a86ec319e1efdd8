"""One file a contender: `build(work, data)` gives its value-and-gradient, `sample` its draws."""

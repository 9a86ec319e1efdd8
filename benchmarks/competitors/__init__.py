"""One file per competitor: `build(case, data)` makes its value and gradient, `sample` its draws."""

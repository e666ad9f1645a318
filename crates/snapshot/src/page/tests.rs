//! Tests of what a page is given; `tests/browser` looks at what it does with it.

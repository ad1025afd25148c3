//! What the tests share: the program under test, and the real parts around it.

//! (soak)

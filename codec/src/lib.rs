//! Bytes <-> fields of ILP, BTP and IL-DCP in the buffer that the caller owns.

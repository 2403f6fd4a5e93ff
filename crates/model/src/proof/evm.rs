//! Headers and receipt tries: that a log entry stands in a block of an Ethereum-like chain.

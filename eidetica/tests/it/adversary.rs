//! Owns what crafted requests and answers achieve at an instance, over real sockets. Each attack
//! has its control beside it: the same bytes where they are allowed.

mod attacker;
mod claims;
mod pushes;
mod quota;

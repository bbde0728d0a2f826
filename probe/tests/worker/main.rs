//! Frames in, reports out: a whole worker without a network.

mod copies;
mod cycle;
mod end;
mod fragments;
mod identity;
mod lab;
mod limits;
mod meter;
mod plain;
mod property;
mod tcp;
mod watches;

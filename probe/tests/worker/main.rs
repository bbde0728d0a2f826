//! Frames in, reports out: a whole worker without a network.

mod identity;
mod lab;
mod meter;

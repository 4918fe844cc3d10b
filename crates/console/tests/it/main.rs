//! The console without a browser: its pages over the examples of the demo.

mod guarded; // who may, from where
mod pages; // what they show
mod rights; // who may do what
mod support;

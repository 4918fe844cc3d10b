//! The console without a browser: its pages over the examples of the demo.

mod commands; // that forms show
mod drills; // what pages say in each drill
mod forms; // what is said of what they did not do
mod golden;
mod guarded; // who may, from where
mod keys; // who may search by what may be personal
mod lists; // that are cut, empty or long
mod look; // colours, times, and what browsers keep
mod older; // numbers, and what is not known
mod pages; // what they show
mod repairs; // what their forms do
mod rights; // who may do what
mod streams; // pages that change by themselves
mod support;
#[cfg(feature = "prometheus")]
mod week; // from a Prometheus

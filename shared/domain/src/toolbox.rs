//! Toolboxes: machines of a user's, what should run on them, and what is known of both.
//!
//! What should be is written by the owner, what is by the machine's reports; these modules say what follows when the two meet. All of it is
//! tables and functions of their arguments: operations apply the rules in the statement that holds the rows, which is why some rules can be
//! given away as data.

pub mod alert;
pub mod cloud_init;
pub mod liveness;
pub mod machine;
pub mod names;
pub mod report;
pub mod status;
pub mod tool;

//! What Agentopia says on Discord, as far as it is a rule.

pub mod split;
pub mod worker;

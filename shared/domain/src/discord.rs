//! What Agentopia says on Discord, as far as it is a rule.

pub mod answer;
pub mod buckets;
pub mod commands;
pub mod split;
pub mod worker;

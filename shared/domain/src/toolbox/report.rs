//! What machines say of containers, in the words of several generations of agents and of container runtimes.

use super::tool::Observed;

/// What a reported state means. Known are the states of Docker's containers
/// (<https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Container/operation/ContainerInspect>), those of the agents before ours,
/// and the statuses that were once reported back as they had been set.
///
/// `exit_code` is that of a container that has ended: one that ended with an error did not stop.
#[must_use]
pub fn observed_state(reported: &str, exit_code: Option<i64>) -> Observed {
    match reported.to_ascii_lowercase().as_str() {
        "absent" | "not_found" | "uninstalled" | "deleted" => Observed::Absent,
        "created" | "pending" | "starting" | "restarting" | "deploying" | "installing" | "pulling"
        | "pending_deploy" | "pending_install" => Observed::Starting,
        "running" | "active" | "healthy" => Observed::Running,
        "stopping" => Observed::Stopping,
        "exited" if exit_code.is_some_and(|code| code != 0) => Observed::Failed,
        "exited" | "stopped" | "paused" | "disabled" => Observed::Stopped,
        "dead" | "failed" | "error" | "error_runtime" | "error_install" | "error_inspecting" | "unhealthy" => {
            Observed::Failed
        }
        "removing" | "deleting" | "uninstalling" => Observed::Removing,
        _ => Observed::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn states_are_known_in_the_words_of_all_generations() {
        let cases = [
            ("created", None, Observed::Starting),
            ("RUNNING", None, Observed::Running),
            ("restarting", Some(1), Observed::Starting),
            ("paused", None, Observed::Stopped),
            ("exited", None, Observed::Stopped),
            ("exited", Some(0), Observed::Stopped),
            ("exited", Some(137), Observed::Failed),
            ("dead", None, Observed::Failed),
            ("error_inspecting", None, Observed::Failed),
            ("removing", None, Observed::Removing),
            ("PENDING", None, Observed::Starting),
            ("STOPPED", None, Observed::Stopped),
            ("", None, Observed::Unknown),
            ("levitating", None, Observed::Unknown),
        ];

        for (reported, exit_code, expected) in cases {
            assert_eq!(
                observed_state(reported, exit_code),
                expected,
                "{reported} {exit_code:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn anything_else_is_unknown(reported in "[^a-zA-Z]{0,40}") {
            prop_assert_eq!(observed_state(&reported, None), Observed::Unknown);
        }
    }
}

//! The provider of machines fails, in each of the ways in which machines are lost: there is one in the end, or none, and the owner is told why.

use std::time::Duration;

use agentopia_stack::worlds::digitalocean::{Boot, Call, Fault, FaultPlan};
use agentopia_stack::worlds::toolbox_agents::Phase;
use agentopia_tests::{DEADLINE, Stack, eventually, eventually_some};
use futures::future::join_all;
use http::Method;
use insta::assert_snapshot;
use serde_json::json;
use uuid::Uuid;

use crate::heartbeat_support::HEARTBEAT;
use crate::toolbox_machines::{Ordered, brisk, machine_due_in, stack, sweep, sweeping};

/// Requests about a toolbox meet a fault.
fn fail(stack: &Stack, toolbox: &Ordered, plan: FaultPlan) {
    stack.digitalocean().fail(plan.about(toolbox.id.to_string()));
}

/// How many requests about a toolbox's machine there were.
fn asked(stack: &Stack, toolbox: &Ordered) -> usize {
    let id = toolbox.id.to_string();
    let requests = stack.digitalocean().requests();
    requests.iter().filter(|request| request.path.contains(&id)).count()
}

/// Sweeps until the owner is told something.
async fn told(stack: &Stack, toolbox: &Ordered) -> String {
    eventually_some("the owner is told", DEADLINE, async || {
        sweep(stack).await;
        toolbox.message(stack).await
    })
    .await
}

#[tokio::test]
async fn sweeps_at_once_do_the_work_once() {
    let stack = stack().await;
    let toolboxes = [
        Ordered::new(stack).await,
        Ordered::new(stack).await,
        Ordered::new(stack).await,
    ];

    for _ in 0..3 {
        for toolbox in &toolboxes {
            toolbox.make_due(stack).await;
        }
        for response in join_all((0..6).map(|_| sweeping(stack).into_future())).await {
            assert_eq!(response.status(), 200, "{response}");
        }
    }
    for toolbox in &toolboxes {
        toolbox.until_active(stack).await;
        toolbox.check_one_machine(stack, "swept at once").await;
        assert_eq!(toolbox.created(stack), 1, "made once");
    }

    for toolbox in &toolboxes {
        toolbox.delete(stack).await;
    }
    join_all((0..6).map(|_| sweeping(stack).into_future())).await;
    for toolbox in &toolboxes {
        toolbox.until_gone(stack).await;
        toolbox.check_no_machine(stack, "swept at once").await;
    }
}

/// Whatever comes of a request for a machine, it is one that was made once.
#[tokio::test]
async fn a_machine_of_whose_making_nothing_is_heard_is_found_and_not_made_again() {
    let stack = stack().await;
    for fault in [Fault::Stall, Fault::Drop, Fault::DoneAndFailed, Fault::Malformed] {
        let case = format!("{fault:?}");
        let toolbox = Ordered::new(stack).await;
        stack.toolbox_agents().hold_registration(toolbox.id);
        fail(stack, &toolbox, FaultPlan::new(Call::Create, fault));

        let message = told(stack, &toolbox).await;
        assert_eq!(
            message, "The provider does not answer as it should. It is tried again by itself.",
            "{case}"
        );
        assert!(machine_due_in(stack, &toolbox).await > Duration::from_secs(2), "{case}");

        stack.toolbox_agents().speak(toolbox.id);
        toolbox.until_active(stack).await;
        toolbox.check_one_machine(stack, &case).await;
        assert_eq!(toolbox.created(stack), 1, "{case}");
        assert_eq!(toolbox.message(stack).await, None, "{case}: what hindered is over");
    }
}

#[tokio::test]
async fn a_machine_that_was_not_made_is_asked_for_again_when_it_cannot_come_any_more() {
    let stack = stack().await;
    for fault in [Fault::ServerError, Fault::Unavailable, Fault::Silence] {
        let case = format!("{fault:?}");
        let toolbox = Ordered::new(stack).await;
        fail(stack, &toolbox, FaultPlan::new(Call::Create, fault));

        told(stack, &toolbox).await;
        toolbox.make_due(stack).await;
        sweep(stack).await;
        assert_eq!(toolbox.created(stack), 0, "{case}: it may come yet");
        toolbox.let_settle(stack).await;

        toolbox.until_active(stack).await;
        toolbox.check_one_machine(stack, &case).await;
        assert_eq!(toolbox.created(stack), 1, "{case}");
    }
}

#[tokio::test]
async fn a_provider_that_makes_nothing_is_asked_three_times_and_no_more() {
    let stack = stack().await;
    let toolbox = Ordered::new(stack).await;
    fail(
        stack,
        &toolbox,
        FaultPlan::new(Call::Create, Fault::ServerError).always(),
    );

    toolbox
        .sweep_until(stack, "it is given up", async || {
            toolbox.let_settle(stack).await;
            toolbox.status(stack).await == "error_provisioning"
        })
        .await;

    assert_snapshot!(
        toolbox.message(stack).await.unwrap(),
        @"The provider did not make a machine in 3 attempts. Redeploy to try again."
    );
    let attempts = "SELECT count(*) FROM app.machine_attempts WHERE toolbox_id = $1";
    assert_eq!(stack.db().scalar::<i64>(attempts, &[&toolbox.id]).await, 3);

    stack.digitalocean().mend(&toolbox.id.to_string());
    toolbox.redeploy(stack).await;
    toolbox.until_active(stack).await;
    toolbox.check_one_machine(stack, "redeployed").await;
}

#[tokio::test]
async fn a_provider_that_has_had_enough_is_left_alone_as_long_as_it_says() {
    let stack = &Stack::of_its_own(brisk()).await;
    let toolbox = Ordered::new(stack).await;
    let limit = Fault::RateLimited(Some(Duration::from_secs(90)));
    fail(stack, &toolbox, FaultPlan::new(Call::Create, limit));

    let message = told(stack, &toolbox).await;
    let asked_before = asked(stack, &toolbox);
    let due = machine_due_in(stack, &toolbox).await;
    for _ in 0..3 {
        sweep(stack).await;
    }

    assert_snapshot!(message, @"The provider limits how much it is asked. It is tried again by itself.");
    assert!((80..=90).contains(&due.as_secs()), "{due:?}");
    assert_eq!(asked(stack, &toolbox), asked_before, "nothing is asked before that");
    assert_eq!(
        toolbox.status(stack).await,
        "pending_provision",
        "nothing was made, for certain"
    );
    toolbox.until_active(stack).await;
    assert_eq!(
        toolbox.created(stack),
        1,
        "and it is asked again without waiting for what cannot come"
    );
}

#[tokio::test]
async fn a_limit_that_one_machine_meets_holds_back_the_others_of_the_sweep() {
    let stack = Stack::of_its_own(brisk()).await;
    let mut toolboxes = Vec::new();
    for _ in 0..8 {
        toolboxes.push(Ordered::new(&stack).await);
    }
    let limit = Fault::RateLimited(Some(Duration::from_secs(60)));
    stack
        .digitalocean()
        .fail(FaultPlan::new(Call::Any, limit).always().about("agentopia:tb:"));

    sweep(&stack).await;

    let asked = stack.digitalocean().requests().len();
    assert!((1..=4).contains(&asked), "{asked} requests: those that were under way");
    for toolbox in &toolboxes {
        assert!(machine_due_in(&stack, toolbox).await > Duration::from_secs(50));
    }
    stack.digitalocean().mend("agentopia:tb:");
    for toolbox in &toolboxes {
        toolbox.until_active(&stack).await;
        toolbox.check_one_machine(&stack, "held back").await;
    }
}

#[tokio::test]
async fn what_the_provider_does_not_make_is_told_in_its_words() {
    let stack = stack().await;
    let toolbox = Ordered::new(stack).await;
    let refusal = Fault::Invalid("Size is not available in this region.".to_owned());
    fail(stack, &toolbox, FaultPlan::new(Call::Create, refusal));

    toolbox.sweep_until_status(stack, "error_provisioning").await;

    assert_snapshot!(
        toolbox.message(stack).await.unwrap(),
        @"The provider cannot make this machine: Size is not available in this region."
    );
    toolbox
        .sweep_until(stack, "it is settled", async || toolbox.is_settled(stack).await)
        .await;
    assert_eq!((toolbox.droplets(stack).len(), toolbox.created(stack)), (0, 0));

    toolbox.redeploy(stack).await;
    toolbox.until_active(stack).await;
    toolbox.check_one_machine(stack, "redeployed").await;
}

#[tokio::test]
async fn an_account_that_is_not_accepted_is_the_operators_to_mend() {
    let stack = stack().await;
    let toolbox = Ordered::new(stack).await;
    fail(stack, &toolbox, FaultPlan::new(Call::Any, Fault::Unauthorized).always());

    let message = told(stack, &toolbox).await;
    let due = machine_due_in(stack, &toolbox).await;

    assert_snapshot!(message, @"The provider does not accept the platform's account. Its operator has to mend this.");
    assert!(due > Duration::from_secs(500), "{due:?}");
    assert_eq!(toolbox.status(stack).await, "pending_provision");
    stack.digitalocean().mend(&toolbox.id.to_string());
    toolbox.until_active(stack).await;
    toolbox.check_one_machine(stack, "mended").await;
}

#[tokio::test]
async fn a_machine_that_is_not_destroyed_is_destroyed_later() {
    let stack = stack().await;
    for fault in [Fault::ServerError, Fault::Pending, Fault::DoneAndFailed, Fault::Drop] {
        let case = format!("{fault:?}");
        let toolbox = Ordered::active(stack).await;
        fail(stack, &toolbox, FaultPlan::new(Call::Delete, fault));

        toolbox.delete(stack).await;
        let message = told(stack, &toolbox).await;
        let status = toolbox.status(stack).await;
        let again = toolbox.request(stack, Method::DELETE, "").await;

        assert_eq!(
            (message.as_str(), status.as_str()),
            (
                "The provider does not answer as it should. It is tried again by itself.",
                "error_deprovisioning"
            ),
            "{case}"
        );
        assert_eq!(again.status(), 204, "{case}: it can be said again");
        toolbox.until_gone(stack).await;
        toolbox.check_no_machine(stack, &case).await;
    }
}

#[tokio::test]
async fn a_machine_that_does_not_speak_in_time_is_destroyed() {
    let stack = stack().await;
    let toolbox = Ordered::new(stack).await;
    stack.toolbox_agents().hold_registration(toolbox.id);
    toolbox.sweep_until_status(stack, "awaiting_heartbeat").await;
    let first = toolbox.droplets(stack).remove(0).id;

    let late = "UPDATE app.machine_attempts SET boot_deadline = clock_timestamp() WHERE toolbox_id = $1";
    stack.db().execute(late, &[&toolbox.id]).await;
    toolbox.sweep_until_status(stack, "error_provisioning").await;

    assert_snapshot!(
        toolbox.message(stack).await.unwrap(),
        @"The machine did not report within 10 minutes of being started. It was destroyed; redeploy to try again."
    );
    assert_eq!(toolbox.droplets(stack), []);
    assert!(stack.digitalocean().deleted().contains(&first));

    stack.toolbox_agents().speak(toolbox.id);
    toolbox.redeploy(stack).await;
    toolbox.until_active(stack).await;
    toolbox.check_one_machine(stack, "redeployed").await;
    assert_ne!(toolbox.droplets(stack).remove(0).id, first);
}

/// A machine that no list has had in time may have registered: what it proves itself with is worth nothing once another was asked for, and it is
/// destroyed when it shows itself.
#[tokio::test]
async fn a_machine_that_appears_after_another_was_asked_for_is_nobody() {
    let stack = &Stack::of_its_own(brisk()).await;
    let (digitalocean, agents) = (stack.digitalocean(), stack.toolbox_agents());
    let toolbox = Ordered::new(stack).await;
    agents.hold_reports(toolbox.id);
    digitalocean.set_listing_delay(Duration::from_secs(3600));
    fail(stack, &toolbox, FaultPlan::new(Call::Create, Fault::DoneAndFailed));
    sweep(stack).await;
    let token = eventually_some("the machine has registered", DEADLINE, async || {
        agents.agent_of(toolbox.id)?.token
    })
    .await;

    digitalocean.set_boot(Boot::Never);
    toolbox.let_settle(stack).await;
    toolbox
        .sweep_until(stack, "another is asked for", async || toolbox.created(stack) == 2)
        .await;
    let response = stack.post(HEARTBEAT).bearer(&token).json(&json!({})).await;
    let status = toolbox.status(stack).await;

    assert_eq!(response.status(), 401, "{response}");
    assert_eq!(status, "provisioning");
    digitalocean.activate(toolbox.droplets(stack).remove(1).id);
    agents.speak(toolbox.id);
    toolbox.until_active(stack).await;
    digitalocean.end_listing_delay();
    let late =
        "UPDATE app.machine_attempts SET boot_deadline = clock_timestamp() WHERE toolbox_id = $1 AND ended_at IS NULL";
    assert_eq!(stack.db().execute(late, &[&toolbox.id]).await, 1);
    toolbox
        .sweep_until(stack, "the first is destroyed", async || {
            toolbox.droplets(stack).len() == 1
        })
        .await;
    toolbox.check_one_machine(stack, "the second").await;
}

#[tokio::test]
async fn a_machine_whose_owner_is_gone_is_destroyed() {
    let stack = stack().await;
    let spoken = Ordered::active(stack).await;
    let asked_for = Ordered::new(stack).await;
    stack.toolbox_agents().hold_registration(asked_for.id);
    asked_for.sweep_until_status(stack, "awaiting_heartbeat").await;

    for toolbox in [&spoken, &asked_for] {
        assert_eq!(toolbox.droplets(stack).len(), 1);
        let delete = "DELETE FROM auth.users WHERE id = $1";
        stack.db().execute(delete, &[&toolbox.owner.id]).await;
        toolbox
            .sweep_until(stack, "nothing is left", async || {
                toolbox.droplets(stack).is_empty() && toolbox.is_settled(stack).await
            })
            .await;
        toolbox.check_no_machine(stack, "its owner is gone").await;
    }
}

/// The chain of CONTRACTS: whatever number gets into a row, the platform's account destroys nothing that does not bear the toolbox's tag.
#[tokio::test]
async fn a_droplet_without_the_toolboxs_tag_is_never_touched() {
    let stack = stack().await;
    let other_toolbox = format!("agentopia:tb:{}:{}", Uuid::from_u128(1), Uuid::from_u128(2));
    for tags in [
        vec!["web"],
        vec!["agentopia:toolbox"],
        vec!["agentopia:toolbox", &other_toolbox],
    ] {
        let foreign = stack.digitalocean().seed_droplet("production", &tags);
        let number = i64::try_from(foreign).unwrap();
        let toolbox = Ordered::active(stack).await;
        let own = toolbox.droplets(stack).remove(0).id;
        for statement in [
            "UPDATE public.account_tool_environments SET do_droplet_id = $2 WHERE id = $1",
            "UPDATE app.machine_attempts SET droplet_id = $2 WHERE toolbox_id = $1",
        ] {
            assert_eq!(stack.db().execute(statement, &[&toolbox.id, &number]).await, 1);
        }

        toolbox.delete(stack).await;
        toolbox.until_gone(stack).await;

        let deleted = stack.digitalocean().deleted();
        let left: Vec<_> = stack
            .digitalocean()
            .droplets()
            .iter()
            .map(|droplet| droplet.id)
            .collect();
        assert!(left.contains(&foreign) && !deleted.contains(&foreign), "{tags:?}");
        assert!(deleted.contains(&own), "{tags:?}: its own is gone");
        stack.digitalocean().remove_droplet(foreign);
    }
}

#[tokio::test]
async fn a_machine_that_disappears_is_noticed_before_it_has_spoken() {
    let stack = stack().await;
    let toolbox = Ordered::new(stack).await;
    stack.toolbox_agents().hold_registration(toolbox.id);
    toolbox.sweep_until_status(stack, "awaiting_heartbeat").await;

    stack
        .digitalocean()
        .remove_droplet(toolbox.droplets(stack).remove(0).id);
    toolbox.sweep_until_status(stack, "error_provisioning").await;

    assert_snapshot!(
        toolbox.message(stack).await.unwrap(),
        @"The machine disappeared at the provider before it reported. Redeploy to try again."
    );
}

/// A machine that was replaced goes on asking for as long as it lives, and is nobody.
#[tokio::test]
async fn a_machine_that_was_replaced_proves_nothing() {
    let stack = stack().await;
    let toolbox = Ordered::active(stack).await;
    let agents = stack.toolbox_agents();
    let first = agents.agent_of(toolbox.id).unwrap();
    fail(
        stack,
        &toolbox,
        FaultPlan::new(Call::Delete, Fault::ServerError).always(),
    );

    toolbox.redeploy(stack).await;
    eventually("its token is refused", DEADLINE, async || {
        agents.agent_of(toolbox.id).unwrap().last_status == Some(401)
    })
    .await;
    assert_ne!(toolbox.status(stack).await, "active");
    told(stack, &toolbox).await;
    assert_eq!(toolbox.created(stack), 1, "there is no other as long as it lives");

    stack.digitalocean().mend(&toolbox.id.to_string());
    toolbox.until_active(stack).await;
    toolbox.check_one_machine(stack, "replaced").await;
    let phases: Vec<_> = agents
        .agents()
        .into_iter()
        .filter(|agent| agent.toolbox_id == Some(toolbox.id))
        .map(|agent| (agent.droplet_id == first.droplet_id, agent.phase))
        .collect();
    assert_eq!(phases, [(true, Phase::Destroyed), (false, Phase::Reporting)]);
}

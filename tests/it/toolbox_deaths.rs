//! The application dies at each step of making and of unmaking a machine: when another has gone on in its place there is one, or none.

use std::time::Duration;

use agentopia_stack::worlds::digitalocean::{Call, Fault, FaultPlan};
use agentopia_tests::{DEADLINE, Stack, eventually};

use crate::toolbox_machines::{Ordered, die_over, patient, sweep};

/// What the provider does with the call over which the application dies.
const UNDONE: Fault = Fault::Silence;
const DONE: Fault = Fault::Stall;

const DROPLETS: &str = "/v2/droplets";

/// The next call of a kind about a toolbox hangs.
fn hang(stack: &Stack, toolbox: &Ordered, call: Call, how: Fault) {
    stack
        .digitalocean()
        .fail(FaultPlan::new(call, how).about(toolbox.id.to_string()));
}

/// The next search for a toolbox's machine hangs, and the application dies over it.
async fn die_over_search(stack: Stack, toolbox: &Ordered) -> Stack {
    hang(&stack, toolbox, Call::List, UNDONE);
    toolbox.make_due(&stack).await;
    die_over(stack, "GET", DROPLETS).await
}

/// The request for a toolbox's machine hangs, and the application dies over it.
async fn die_over_creation(stack: Stack, toolbox: &Ordered, how: Fault) -> Stack {
    hang(&stack, toolbox, Call::Create, how);
    die_over(stack, "POST", DROPLETS).await
}

/// The machine comes, and is the only one that was ever made; and then goes, as it should.
async fn check_life(stack: &Stack, toolbox: &Ordered, case: &str) {
    toolbox.end_lease(stack).await;
    toolbox.until_active(stack).await;
    toolbox.check_one_machine(stack, case).await;
    assert_eq!(toolbox.created(stack), 1, "{case}: made once");

    toolbox.delete(stack).await;
    toolbox.until_gone(stack).await;
    toolbox.check_no_machine(stack, case).await;
}

#[tokio::test]
async fn whoever_dies_while_a_machine_is_made_is_followed_by_one_who_makes_it_once() {
    let mut stack = Stack::of_its_own(patient()).await;

    let case = "before an attempt is recorded";
    let toolbox = Ordered::new(&stack).await;
    stack = die_over_search(stack, &toolbox).await;
    assert_eq!(toolbox.status(&stack).await, "pending_provision", "{case}");
    check_life(&stack, &toolbox, case).await;

    let case = "before the provider has heard of it";
    let toolbox = Ordered::new(&stack).await;
    stack = die_over_creation(stack, &toolbox, UNDONE).await;
    assert_eq!(toolbox.status(&stack).await, "provisioning", "{case}");
    assert_eq!(toolbox.created(&stack), 0, "{case}");
    toolbox.end_lease(&stack).await;
    sweep(&stack).await;
    assert_eq!(
        toolbox.created(&stack),
        0,
        "{case}: it may come yet, and is not asked for again"
    );
    toolbox.let_settle(&stack).await;
    check_life(&stack, &toolbox, case).await;

    let case = "before it is heard that the provider has made it";
    let toolbox = Ordered::new(&stack).await;
    stack.toolbox_agents().hold_registration(toolbox.id);
    stack = die_over_creation(stack, &toolbox, DONE).await;
    assert_eq!(toolbox.created(&stack), 1, "{case}");
    stack.toolbox_agents().speak(toolbox.id);
    check_life(&stack, &toolbox, case).await;

    let case = "before it is heard that the provider has made it, and the machine speaks first";
    let toolbox = Ordered::new(&stack).await;
    stack = die_over_creation(stack, &toolbox, DONE).await;
    eventually("the machine has spoken", DEADLINE, async || {
        toolbox.status(&stack).await == "active"
    })
    .await;
    check_life(&stack, &toolbox, case).await;

    let case = "before it is heard that the provider has made it, which lists it late";
    let toolbox = Ordered::new(&stack).await;
    stack.digitalocean().set_listing_delay(Duration::from_secs(3600));
    stack.toolbox_agents().hold_registration(toolbox.id);
    stack = die_over_creation(stack, &toolbox, DONE).await;
    toolbox.end_lease(&stack).await;
    sweep(&stack).await;
    assert_eq!(toolbox.created(&stack), 1, "{case}");
    stack.digitalocean().end_listing_delay();
    stack.toolbox_agents().speak(toolbox.id);
    check_life(&stack, &toolbox, case).await;

    let case = "when it is made and recorded";
    let toolbox = Ordered::new(&stack).await;
    stack.toolbox_agents().hold_registration(toolbox.id);
    sweep(&stack).await;
    stack = die_over_search(stack, &toolbox).await;
    assert_eq!(toolbox.status(&stack).await, "provisioning", "{case}");
    stack.toolbox_agents().speak(toolbox.id);
    check_life(&stack, &toolbox, case).await;

    let case = "while it is awaited";
    let toolbox = Ordered::new(&stack).await;
    stack.toolbox_agents().hold_registration(toolbox.id);
    toolbox.sweep_until_status(&stack, "awaiting_heartbeat").await;
    stack = die_over_search(stack, &toolbox).await;
    stack.toolbox_agents().speak(toolbox.id);
    check_life(&stack, &toolbox, case).await;

    assert_eq!(stack.digitalocean().droplets(), [], "no droplet is anybody's");
    assert_eq!(stack.digitalocean().complaints(), Vec::<String>::new());
    assert_eq!(stack.toolbox_agents().complaints(), Vec::<String>::new());
}

/// Nothing is left, and the provider was told so once for each machine.
async fn check_end(stack: &Stack, toolbox: &Ordered, made: usize, case: &str) {
    toolbox.end_lease(stack).await;
    toolbox.until_gone(stack).await;
    toolbox.check_no_machine(stack, case).await;
    assert_eq!(toolbox.created(stack), made, "{case}");
}

/// The same for a machine of whose making nothing was heard: its record stays for as long as another might appear.
async fn check_unheard_end(stack: &Stack, toolbox: &Ordered, case: &str) {
    toolbox.end_lease(stack).await;
    toolbox
        .sweep_until(stack, case, async || toolbox.droplets(stack).is_empty())
        .await;
    sweep(stack).await;
    assert_eq!(toolbox.status(stack).await, "deprovisioning", "{case}");
    toolbox.let_settle(stack).await;
    check_end(stack, toolbox, 1, case).await;
}

#[tokio::test]
async fn whoever_dies_while_a_machine_is_unmade_is_followed_by_one_who_leaves_none() {
    let mut stack = Stack::of_its_own(patient()).await;

    let case = "before the provider is asked";
    let toolbox = Ordered::active(&stack).await;
    toolbox.delete(&stack).await;
    stack = die_over_search(stack, &toolbox).await;
    assert_eq!(toolbox.droplets(&stack).len(), 1, "{case}");
    check_end(&stack, &toolbox, 1, case).await;

    let case = "before the provider has heard of it";
    let toolbox = Ordered::active(&stack).await;
    toolbox.delete(&stack).await;
    hang(&stack, &toolbox, Call::Delete, UNDONE);
    stack = die_over(stack, "DELETE", DROPLETS).await;
    assert_eq!(toolbox.droplets(&stack).len(), 1, "{case}");
    check_end(&stack, &toolbox, 1, case).await;

    let case = "before it is heard that the provider has destroyed it";
    let toolbox = Ordered::active(&stack).await;
    toolbox.delete(&stack).await;
    hang(&stack, &toolbox, Call::Delete, DONE);
    stack = die_over(stack, "DELETE", DROPLETS).await;
    assert_eq!(toolbox.droplets(&stack), [], "{case}");
    assert_eq!(toolbox.status(&stack).await, "deprovisioning", "{case}");
    check_end(&stack, &toolbox, 1, case).await;

    let case = "before its record goes";
    let toolbox = Ordered::active(&stack).await;
    toolbox.delete(&stack).await;
    sweep(&stack).await;
    assert_eq!(toolbox.droplets(&stack), [], "{case}");
    stack = die_over_search(stack, &toolbox).await;
    check_end(&stack, &toolbox, 1, case).await;

    let case = "over making what is then deleted";
    let toolbox = Ordered::new(&stack).await;
    stack = die_over_creation(stack, &toolbox, DONE).await;
    toolbox.delete(&stack).await;
    check_unheard_end(&stack, &toolbox, case).await;

    let case = "over making what is then deleted, and appears only afterwards";
    let toolbox = Ordered::new(&stack).await;
    stack.digitalocean().set_listing_delay(Duration::from_secs(3600));
    stack = die_over_creation(stack, &toolbox, DONE).await;
    toolbox.delete(&stack).await;
    toolbox.end_lease(&stack).await;
    sweep(&stack).await;
    assert_eq!(
        toolbox.status(&stack).await,
        "deprovisioning",
        "{case}: it may come yet"
    );
    stack.digitalocean().end_listing_delay();
    check_unheard_end(&stack, &toolbox, case).await;

    let case = "over asking for what is never made and then deleted";
    let toolbox = Ordered::new(&stack).await;
    stack = die_over_creation(stack, &toolbox, UNDONE).await;
    toolbox.delete(&stack).await;
    toolbox.end_lease(&stack).await;
    sweep(&stack).await;
    assert_eq!(
        toolbox.status(&stack).await,
        "deprovisioning",
        "{case}: it may come yet"
    );
    toolbox.let_settle(&stack).await;
    check_end(&stack, &toolbox, 0, case).await;

    let case = "over destroying what is replaced";
    let toolbox = Ordered::active(&stack).await;
    let first = toolbox.droplets(&stack).remove(0).id;
    toolbox.redeploy(&stack).await;
    hang(&stack, &toolbox, Call::Delete, DONE);
    stack = die_over(stack, "DELETE", DROPLETS).await;
    toolbox.end_lease(&stack).await;
    toolbox.until_active(&stack).await;
    toolbox.check_one_machine(&stack, case).await;
    assert_ne!(toolbox.droplets(&stack).remove(0).id, first, "{case}");
    toolbox.delete(&stack).await;
    check_end(&stack, &toolbox, 2, case).await;

    assert_eq!(stack.digitalocean().droplets(), [], "no droplet is anybody's");
    assert_eq!(stack.digitalocean().complaints(), Vec::<String>::new());
}

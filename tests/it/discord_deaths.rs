//! The application dies at each step of a deferred answer: when another has gone on in its place there is one answer, and the model was asked once if it had
//! replied.

use std::time::Duration;

use agentopia_stack::worlds::discord::{Call, Fault, Interaction};
use agentopia_stack::worlds::worker_manager::{Call as ManagerCall, Fault as ManagerFault};
use agentopia_tests::Stack;
use insta::assert_snapshot;

use crate::discord_scene::{
    Gate, Scene, asked, calls, die_over, end_leases, long_text, outcome, patient, sweep_until_over, texts,
};
use crate::toolbox_machines::sweep;

/// What Discord does with the call over which the application dies.
const UNDONE: Fault = Fault::Silence;
const DONE: Fault = Fault::Stall;

/// The next call of a kind about an interaction hangs, and the application dies over it.
async fn die_over_call(
    stack: Stack,
    scene: &Scene,
    interaction: &Interaction,
    (call, how): (Call, Fault),
    case: &str,
) -> Stack {
    stack.discord().fail_call(interaction.id, call, how, 1);
    die_over(stack, scene, interaction, case, async |stack| {
        !calls(stack, interaction, call).is_empty()
    })
    .await
}

/// The application dies when it is about to write something about an interaction, and has not.
async fn die_before(
    stack: Stack,
    scene: &Scene,
    interaction: &Interaction,
    (event, condition): (&str, &str),
    case: &str,
) -> Stack {
    let gate = Gate::close(&stack, interaction, event, condition).await;
    let stack = die_over(stack, scene, interaction, case, async |stack| {
        gate.is_reached(stack).await
    })
    .await;
    gate.open_after_death(&stack).await;
    stack
}

/// Another goes on when the leases of the dead are over, and not before.
async fn go_on(stack: &Stack, interaction: &Interaction, case: &str) {
    let before = stack.discord().recorded(interaction.id);
    sweep(stack).await;
    assert_eq!(stack.discord().recorded(interaction.id), before, "{case}: it is held");
    end_leases(stack, interaction).await;
    sweep_until_over(stack, interaction, case).await;
}

#[tokio::test]
async fn whoever_dies_before_an_answer_is_seen_is_followed_by_one_who_gives_it() {
    let mut stack = Stack::of_its_own(patient()).await;
    let scene = Scene::new(&stack).await;

    let case = "before it is written down";
    let interaction = scene.ask(&stack, case);
    stack = die_before(stack, &scene, &interaction, ("INSERT", "true"), case).await;
    sweep(&stack).await;
    stack.discord().age(interaction.id, Duration::from_secs(3));
    assert_eq!(outcome(&stack, &interaction).await, None, "{case}");
    assert_eq!(stack.discord().recorded(interaction.id), [], "{case}");
    assert!(stack.discord().has_failed(interaction.id), "{case}: Discord says so");

    let case = "before Discord has heard that the answer comes later";
    let interaction = scene.ask(&stack, case);
    stack = die_over_call(stack, &scene, &interaction, (Call::Callback, UNDONE), case).await;
    stack.discord().age(interaction.id, Duration::from_secs(3));
    assert!(stack.discord().has_failed(interaction.id), "{case}: Discord says so");
    go_on(&stack, &interaction, case).await;
    assert_eq!(calls(&stack, &interaction, Call::Original).len(), 1, "{case}");
    assert_eq!(calls(&stack, &interaction, Call::Edit), [], "{case}");
    assert_eq!(asked(&stack, case), 0, "{case}: for nobody");
    scene.check_is_over(&stack, &interaction, "gone", case).await;
    assert_eq!(stack.discord().visible(interaction.id), [], "{case}");

    let case = "before it is heard that Discord knows that the answer comes later";
    let interaction = scene.ask(&stack, case);
    stack = die_over_call(stack, &scene, &interaction, (Call::Callback, DONE), case).await;
    assert!(scene.is_thinking(&stack, &interaction), "{case}");
    go_on(&stack, &interaction, case).await;
    scene.check_answer(&stack, &interaction, case, case).await;
    assert_eq!(asked(&stack, case), 1, "{case}");
    assert_eq!(calls(&stack, &interaction, Call::Edit).len(), 1, "{case}");

    let case = "while the model is asked";
    scene.set_model(&stack, "stand-in-stall").await;
    let interaction = scene.ask(&stack, case);
    stack = die_over(stack, &scene, &interaction, case, async |stack| asked(stack, case) == 1).await;
    scene.set_model(&stack, "gpt-4o-mini").await;
    go_on(&stack, &interaction, case).await;
    scene.check_answer(&stack, &interaction, case, case).await;
    assert_eq!(asked(&stack, case), 2, "{case}: it had not replied");
    assert_eq!(calls(&stack, &interaction, Call::Edit).len(), 1, "{case}");

    let case = "when the reply is stored, before the answer is written";
    let interaction = scene.ask(&stack, case);
    let about_to = ("UPDATE", "OLD.answer IS NULL AND NEW.answer IS NOT NULL");
    stack = die_before(stack, &scene, &interaction, about_to, case).await;
    scene.reply(&stack, case).await;
    assert!(scene.is_thinking(&stack, &interaction), "{case}");
    go_on(&stack, &interaction, case).await;
    scene.check_answer(&stack, &interaction, case, case).await;
    assert_eq!(asked(&stack, case), 1, "{case}");
    assert_eq!(calls(&stack, &interaction, Call::Edit).len(), 1, "{case}");

    let case = "while a worker is started";
    let starts = |stack: &Stack| stack.worker_manager().calls(scene.agent.id, ManagerCall::Start);
    stack
        .worker_manager()
        .fail(scene.agent.id, ManagerCall::Start, ManagerFault::Stall, 1);
    let interaction = scene.activate(&stack);
    stack = die_over(stack, &scene, &interaction, case, async |stack| starts(stack) == 1).await;
    go_on(&stack, &interaction, case).await;
    let said = texts(&stack.discord().visible(interaction.id)).join("\n");
    assert_snapshot!(said, @"`Atlas` is starting already. It stops by itself after 10 minutes without a question.");
    scene.check_is_over(&stack, &interaction, "answered", case).await;
    assert_eq!(starts(&stack), 1, "{case}");
    assert_eq!(calls(&stack, &interaction, Call::Edit).len(), 1, "{case}");

    assert_eq!(stack.discord().complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn whoever_dies_over_showing_an_answer_is_followed_by_one_who_shows_it_once() {
    let mut stack = Stack::of_its_own(patient()).await;
    let scene = Scene::new(&stack).await;

    for (case, how) in [
        ("before the answer is shown", UNDONE),
        ("before it is heard that the answer is shown", DONE),
    ] {
        let interaction = scene.ask(&stack, case);
        stack = die_over_call(stack, &scene, &interaction, (Call::Edit, how), case).await;
        assert_eq!(scene.is_thinking(&stack, &interaction), how == UNDONE, "{case}");
        go_on(&stack, &interaction, case).await;
        scene.check_answer(&stack, &interaction, case, case).await;
        assert_eq!(calls(&stack, &interaction, Call::Edit).len(), 2, "{case}");
        assert_eq!(asked(&stack, case), 1, "{case}");
    }

    let case = "before it is written that all was shown";
    let interaction = scene.ask(&stack, case);
    stack = die_before(stack, &scene, &interaction, ("UPDATE", "NEW.outcome IS NOT NULL"), case).await;
    let shown = texts(&stack.discord().visible(interaction.id));
    go_on(&stack, &interaction, case).await;
    assert_eq!(texts(&stack.discord().visible(interaction.id)), shown, "{case}");
    scene.check_answer(&stack, &interaction, case, case).await;
    assert_eq!(asked(&stack, case), 1, "{case}");

    let case = "between two parts";
    let interaction = scene.ask_about(&stack, &long_text(case));
    let about_to = ("UPDATE", "NEW.parts_begun = 2 AND OLD.parts_begun = 1");
    stack = die_before(stack, &scene, &interaction, about_to, case).await;
    assert_eq!(stack.discord().visible(interaction.id).len(), 1, "{case}");
    go_on(&stack, &interaction, case).await;
    scene.check_answer(&stack, &interaction, case, case).await;
    assert_eq!(calls(&stack, &interaction, Call::Edit).len(), 2, "{case}");
    assert_eq!(calls(&stack, &interaction, Call::FollowUp).len(), 2, "{case}");
    assert_eq!(asked(&stack, case), 1, "{case}");

    for (case, how, more) in [
        ("before the second part is there", UNDONE, 0),
        ("before it is heard that the second part is there", DONE, 1),
    ] {
        let interaction = scene.ask_about(&stack, &long_text(case));
        stack = die_over_call(stack, &scene, &interaction, (Call::FollowUp, how), case).await;
        assert_eq!(stack.discord().visible(interaction.id).len(), 1 + more, "{case}");
        go_on(&stack, &interaction, case).await;
        scene.check_file(&stack, &interaction, case, more, case).await;
        assert_eq!(
            calls(&stack, &interaction, Call::FollowUp).len(),
            1,
            "{case}: it is not sent again"
        );
        assert_eq!(asked(&stack, case), 1, "{case}");
    }

    let case = "before it is written that the last part was sent";
    let interaction = scene.ask_about(&stack, &long_text(case));
    stack = die_before(stack, &scene, &interaction, ("UPDATE", "NEW.outcome IS NOT NULL"), case).await;
    assert_eq!(stack.discord().visible(interaction.id).len(), 3, "{case}");
    go_on(&stack, &interaction, case).await;
    scene.check_file(&stack, &interaction, case, 2, case).await;
    assert_eq!(calls(&stack, &interaction, Call::FollowUp).len(), 2, "{case}");
    assert_eq!(asked(&stack, case), 1, "{case}");

    assert_eq!(stack.discord().complaints(), Vec::<String>::new());
}

//! What an interaction needs fails, in each of the ways in which it can: whoever has asked sees one answer or one honest apology in the end, and neither
//! twice.

use std::time::Duration;

use agentopia_stack::worlds::discord::{Acknowledged, Call, Fault, Way};
use agentopia_stack::worlds::worker_manager::{Call as ManagerCall, Fault as ManagerFault};
use agentopia_tests::{DEADLINE, Stack, eventually};
use futures::future::join_all;
use futures::join;
use http::Method;
use insta::assert_snapshot;
use tokio::sync::OnceCell;

use crate::discord_scene::{
    Gate, Scene, answer_due_in, asked, brisk, calls, end_job_lease, end_leases, let_expire, long_text, make_due,
    patient, sweep_until_over, sweep_when_due, texts, until_part,
};
use crate::toolbox_machines::sweep;

/// More often than anything is tried in one run.
const ALWAYS: usize = 100;

/// A time that is waited in a request, and one that is not.
const MOMENT: Duration = Duration::from_millis(300);
const LONG_LIMIT: Duration = Duration::from_secs(6);

/// A limit on one kind of call.
fn limited(retry_after: Duration) -> Fault {
    Fault::RateLimited {
        retry_after,
        global: false,
    }
}

/// The stack of the tests that break single calls and nothing as a whole.
async fn stack() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK.get_or_init(|| Stack::of_its_own(brisk())).await
}

/// Nothing was asked of Discord that a correct client does not ask.
fn check_manners(stack: &Stack) {
    assert_eq!(stack.discord().complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_delivered_twice_is_answered_once() {
    let stack = stack().await;
    let scene = Scene::new(stack).await;

    let case = "delivered four times at once";
    let interaction = scene.ask(stack, case);
    let outcomes = join_all((0..4).map(|_| scene.deliver(stack, &interaction))).await;
    for outcome in outcomes {
        assert_eq!(outcome.acknowledged.map(|first| first.kind), Some(5), "{outcome:?}");
    }
    sweep_until_over(stack, &interaction, case).await;
    scene.check_answer(stack, &interaction, case, case).await;
    assert_eq!(calls(stack, &interaction, Call::Edit).len(), 1, "{case}");
    assert_eq!(asked(stack, case), 1, "{case}");

    let case = "delivered again when it was answered";
    let again = scene.deliver(stack, &interaction).await.answer.unwrap();
    assert_eq!((again.status, again.body["type"].as_u64()), (200, Some(5)), "{case}");
    assert_eq!(calls(stack, &interaction, Call::Edit).len(), 1, "{case}");

    let case = "delivered again to another host while it is answered";
    scene.set_model(stack, "stand-in-slow").await;
    let other = stack.beside(brisk()).await;
    let interaction = scene.ask(stack, case);
    let first = scene.deliver(stack, &interaction);
    let second = async {
        eventually("the model is asked", DEADLINE, async || asked(stack, case) == 1).await;
        scene.deliver(&other, &interaction).await
    };
    let (first, second) = join!(first, second);
    assert_eq!(first.answer.map(|answer| answer.status), Some(202), "{case}");
    assert_eq!(second.answer.unwrap().body["type"], 5, "{case}");
    scene.check_answer(stack, &interaction, case, case).await;
    assert_eq!(calls(stack, &interaction, Call::Edit).len(), 1, "{case}");
    assert_eq!(asked(stack, case), 1, "{case}");
    check_manners(stack);
}

#[tokio::test]
async fn a_model_that_does_not_answer_is_apologised_for_once() {
    let stack = stack().await;
    let answer = async |model: &str, outcome: &str| {
        let scene = Scene::with_model(stack, model).await;
        let interaction = scene.ask(stack, model);
        let delivered = scene.deliver(stack, &interaction).await;
        assert_eq!(delivered.answer.map(|answer| answer.status), Some(202), "{model}");
        let visible = stack.discord().visible(interaction.id);
        scene.check_is_over(stack, &interaction, outcome, model).await;
        assert_eq!(calls(stack, &interaction, Call::Edit).len(), 1, "{model}");
        let [answer] = <[String; 1]>::try_from(texts(&visible)).unwrap();
        answer
    };
    let apology = async |model| answer(model, "apologised").await;

    let (down, limited, spent, silent, cut) = join!(
        apology("stand-in-500"),
        apology("stand-in-429-always"),
        apology("stand-in-quota"),
        apology("stand-in-stall"),
        answer("stand-in-cut", "answered"),
    );

    assert_snapshot!(down, @"Sorry, the model of `Atlas` failed to answer. Please ask again.");
    assert_snapshot!(limited, @"Sorry, the model of `Atlas` has too much to do right now. Please ask again in a moment.");
    assert_snapshot!(spent, @"Sorry, `Atlas` cannot answer for now: the quota of its model's provider is spent.");
    assert_snapshot!(silent, @"Sorry, this was too slow: the model of `Atlas` did not answer in the time that it has. Please ask again.");
    assert_snapshot!(cut, @"
    You said

    *The answer broke off here.*
    ");
    check_manners(stack);
}

/// Whatever comes of the callback, Discord knows in time that the answer comes later.
#[tokio::test]
async fn a_callback_that_fails_costs_time_and_nothing_else() {
    let stack = stack().await;
    let scene = &Scene::new(stack).await;
    let second = Duration::from_secs(1);
    let cases = [
        (limited(second), Way::Inline),
        (Fault::SharedLimit(second), Way::Inline),
        (Fault::Banned(second), Way::Inline),
        (Fault::Blocked, Way::Inline),
        (Fault::ServerError, Way::Inline),
        (Fault::Silence, Way::Inline),
        (Fault::Break, Way::Inline),
        (Fault::DoneAndFailed, Way::Callback),
        (Fault::Stall, Way::Callback),
        (Fault::Drop, Way::Callback),
        (Fault::Malformed, Way::Callback),
    ];

    let each = cases.map(async |(fault, way)| {
        let case = &format!("callback: {fault:?}.");
        let interaction = scene.ask(stack, case);
        stack.discord().fail_call(interaction.id, Call::Callback, fault, 1);
        let delivered = scene.deliver(stack, &interaction).await;
        let first = delivered.acknowledged;
        assert!(
            matches!(first, Some(Acknowledged { way: found, kind: 5, .. }) if found == way),
            "{case}: {first:?}"
        );
        sweep_until_over(stack, &interaction, case).await;
        scene.check_answer(stack, &interaction, case, case).await;
        assert_eq!(calls(stack, &interaction, Call::Callback).len(), 1, "{case}");
        assert_eq!(calls(stack, &interaction, Call::Edit).len(), 1, "{case}");
        assert_eq!(asked(stack, case), 1, "{case}");
    });
    join_all(each).await;
    check_manners(stack);
}

#[tokio::test]
async fn an_edit_that_fails_for_a_moment_is_repeated_in_the_same_request() {
    let stack = stack().await;
    let scene = &Scene::new(stack).await;
    let cases = [
        (limited(MOMENT), 2),
        (Fault::SharedLimit(MOMENT), 2),
        (Fault::Banned(MOMENT), 2),
        (Fault::ServerError, 2),
        (Fault::Break, 2),
        (Fault::Silence, 2),
        (Fault::DoneAndFailed, 2),
        (Fault::Stall, 2),
        (Fault::Drop, 2),
        (Fault::Malformed, 1),
    ];

    let each = cases.map(async |(fault, edits)| {
        let case = &format!("edit: {fault:?}.");
        let interaction = scene.ask(stack, case);
        stack.discord().fail_call(interaction.id, Call::Edit, fault, 1);
        let delivered = scene.deliver(stack, &interaction).await;
        assert_eq!(delivered.answer.map(|answer| answer.status), Some(202), "{case}");
        let edited = calls(stack, &interaction, Call::Edit);
        assert_eq!(edited.len(), edits, "{case}: {edited:?}");
        if matches!(fault, Fault::RateLimited { .. } | Fault::SharedLimit(_)) {
            assert!(edited[1].after - edited[0].after >= MOMENT, "{case}: {edited:?}");
        }
        scene.check_answer(stack, &interaction, case, case).await;
        assert_eq!(asked(stack, case), 1, "{case}");
    });
    join_all(each).await;
    check_manners(stack);
}

#[tokio::test]
async fn an_edit_that_goes_on_failing_is_left_to_a_sweep() {
    let stack = stack().await;
    let scene = Scene::new(stack).await;

    let lasting = [Fault::ServerError, Fault::Break, Fault::Blocked].map(async |fault| {
        let case = &format!("lasting: {fault:?}.");
        let interaction = scene.ask(stack, case);
        stack.discord().fail_call(interaction.id, Call::Edit, fault, ALWAYS);
        scene.deliver(stack, &interaction).await;
        assert!(scene.is_thinking(stack, &interaction), "{case}");
        let due = answer_due_in(stack, &interaction).await.unwrap();
        assert!(due > Duration::from_secs(1), "{case}: {due:?}");
        stack.discord().mend(interaction.id);
        sweep_until_over(stack, &interaction, case).await;
        scene.check_answer(stack, &interaction, case, case).await;
        assert_eq!(asked(stack, case), 1, "{case}");
    });
    let limited = async {
        let case = "a limit that lasts";
        let interaction = scene.ask(stack, case);
        stack
            .discord()
            .fail_call(interaction.id, Call::Edit, limited(LONG_LIMIT), 1);
        scene.deliver(stack, &interaction).await;
        assert!(scene.is_thinking(stack, &interaction), "{case}");
        sweep_when_due(stack, &interaction, case).await;
        let edits = calls(stack, &interaction, Call::Edit);
        assert_eq!(edits.len(), 2, "{case}: nothing is asked before that");
        assert!(edits[1].after - edits[0].after >= LONG_LIMIT, "{case}: {edits:?}");
        scene.check_answer(stack, &interaction, case, case).await;
        assert_eq!(asked(stack, case), 1, "{case}");
    };
    join!(join_all(lasting), limited);
    check_manners(stack);
}

#[tokio::test]
async fn an_interaction_that_discord_does_not_know_any_more_is_never_called_again() {
    let stack = stack().await;
    let scene = Scene::new(stack).await;
    let statuses = |interaction, call| -> Vec<_> {
        let calls = calls(stack, interaction, call);
        calls.iter().map(|call| call.status.unwrap()).collect()
    };

    let case = "over before it was delivered";
    let interaction = scene.ask(stack, case);
    stack.discord().forget(interaction.id);
    let delivered = scene.deliver(stack, &interaction).await;
    assert_eq!(delivered.answer.map(|answer| answer.status), Some(202), "{case}");
    assert_eq!(statuses(&interaction, Call::Callback), [404], "{case}");
    assert_eq!(asked(stack, case), 0, "{case}");
    scene.check_is_over(stack, &interaction, "expired", case).await;

    let case = "forgotten before its answer";
    let interaction = scene.ask(stack, case);
    scene.leave(stack, &interaction).await;
    stack.discord().forget(interaction.id);
    sweep_until_over(stack, &interaction, case).await;
    assert_eq!(statuses(&interaction, Call::Original), [404], "{case}");
    assert_eq!(asked(stack, case), 0, "{case}");
    scene.check_is_over(stack, &interaction, "gone", case).await;

    let case = "over before its answer, though it should not be";
    let interaction = scene.ask(stack, case);
    scene.leave(stack, &interaction).await;
    stack.discord().expire(interaction.id);
    sweep_until_over(stack, &interaction, case).await;
    assert_eq!(statuses(&interaction, Call::Original), [401], "{case}");
    scene.check_is_over(stack, &interaction, "gone", case).await;

    let case = "forgotten between two parts";
    let interaction = scene.ask_about(stack, &long_text(case));
    let about_to = "NEW.parts_begun = 2 AND OLD.parts_begun = 1";
    let gate = Gate::close(stack, &interaction, "UPDATE", about_to).await;
    let forgetting = async {
        eventually(case, DEADLINE, async || gate.is_reached(stack).await).await;
        stack.discord().forget(interaction.id);
        gate.open(stack).await;
    };
    join!(scene.deliver(stack, &interaction), forgetting);
    assert_eq!(statuses(&interaction, Call::FollowUp), [404], "{case}");
    scene.check_is_over(stack, &interaction, "gone", case).await;
    assert_eq!(stack.discord().channel_messages(scene.guild.general), []);
    check_manners(stack);
}

#[tokio::test]
async fn when_the_token_is_over_the_channel_is_told_once() {
    let stack = stack().await;
    let cases = [
        (None, 1),
        (Some(limited(MOMENT)), 2),
        (Some(limited(LONG_LIMIT)), 2),
        (Some(Fault::ServerError), 2),
        (Some(Fault::DoneAndFailed), 2),
        (Some(Fault::Stall), 2),
        (Some(Fault::Drop), 2),
    ];

    let each = cases.map(async |(fault, tries)| {
        let case = &format!("too late, and the message meets {fault:?}.");
        let scene = Scene::new(stack).await;
        let interaction = scene.ask(stack, case);
        scene.leave(stack, &interaction).await;
        let_expire(stack, &interaction).await;
        let discord = stack.discord();
        if let Some(fault) = fault {
            discord.fail_call(scene.application.id, Call::CreateMessage, fault, 1);
        }
        make_due(stack, &interaction).await;
        sweep_when_due(stack, &interaction, case).await;

        let told = discord.channel_messages(scene.guild.general);
        let expected = format!(
            "<@{}>: Sorry, `Atlas` could not be reached in time. Please ask again.",
            scene.person.id
        );
        assert_eq!(texts(&told), [expected], "{case}");
        assert!(told.iter().all(|message| message.notifies.is_empty()), "{case}");
        let mut tried = discord.recorded(scene.application.id);
        tried.retain(|call| call.call == Call::CreateMessage);
        assert_eq!(tried.len(), tries, "{case}: {tried:?}");
        assert_eq!(calls(stack, &interaction, Call::Edit), [], "{case}");
        scene.check_is_over(stack, &interaction, "expired", case).await;
        assert_eq!(discord.channel_messages(scene.guild.general), told, "{case}");
    });
    join_all(each).await;
    check_manners(stack);
}

#[tokio::test]
async fn whatever_pause_discord_asks_for_the_end_of_the_token_is_looked_at() {
    let stack = stack().await;
    let scene = Scene::new(stack).await;
    let case = "an hour is asked for";
    let interaction = scene.ask(stack, case);
    let hour = limited(Duration::from_secs(3600));
    stack.discord().fail_call(interaction.id, Call::Edit, hour, 1);

    scene.deliver(stack, &interaction).await;

    let due = answer_due_in(stack, &interaction).await.unwrap();
    assert!(due <= Duration::from_secs(15 * 60), "{case}: {due:?}");
    let_expire(stack, &interaction).await;
    make_due(stack, &interaction).await;
    sweep_when_due(stack, &interaction, case).await;
    scene.check_is_over(stack, &interaction, "expired", case).await;
    let told = stack.discord().channel_messages(scene.guild.general);
    assert_eq!(told.len(), 1, "{case}: {told:?}");
    check_manners(stack);
}

#[tokio::test]
async fn a_command_to_a_worker_is_not_carried_out_late() {
    let stack = stack().await;
    let scene = Scene::new(stack).await;
    let case = "two minutes late";
    let interaction = scene.deactivate(stack);
    scene.leave(stack, &interaction).await;
    let earlier = "UPDATE app.discord_interactions SET created_at = created_at - interval '2 minutes'
                   WHERE interaction_id = $1";
    stack.db().execute(earlier, &[&interaction.id.to_string()]).await;

    sweep_until_over(stack, &interaction, case).await;

    let said = texts(&stack.discord().visible(interaction.id)).join("\n");
    assert_snapshot!(said, @"Sorry, this could not be done in time. Please use the command again.");
    assert_eq!(
        stack.worker_manager().calls(scene.agent.id, ManagerCall::Stop),
        0,
        "{case}"
    );
    scene.check_is_over(stack, &interaction, "apologised", case).await;
}

#[tokio::test]
async fn when_the_token_is_over_nothing_is_said_where_something_may_be_there() {
    let stack = stack().await;

    let each = [Fault::DoneAndFailed, Fault::ServerError].map(async |fault| {
        let case = &format!("the answer may be there: {fault:?}.");
        let scene = Scene::new(stack).await;
        let interaction = scene.ask(stack, case);
        stack.discord().fail_call(interaction.id, Call::Edit, fault, ALWAYS);
        scene.deliver(stack, &interaction).await;
        let seen = stack.discord().visible(interaction.id);
        assert_eq!(
            scene.is_thinking(stack, &interaction),
            fault == Fault::ServerError,
            "{case}"
        );
        let_expire(stack, &interaction).await;
        sweep_until_over(stack, &interaction, case).await;
        scene.check_is_over(stack, &interaction, "expired", case).await;
        assert_eq!(stack.discord().visible(interaction.id), seen, "{case}");
        assert_eq!(stack.discord().channel_messages(scene.guild.general), [], "{case}");
    });
    join_all(each).await;

    let case = "the bot's token is worth nothing, too";
    let scene = Scene::new(stack).await;
    let interaction = scene.ask(stack, case);
    scene.leave(stack, &interaction).await;
    stack.discord().revoke_bot(scene.application.id);
    let_expire(stack, &interaction).await;
    sweep_until_over(stack, &interaction, case).await;
    scene.check_is_over(stack, &interaction, "expired", case).await;
    assert_eq!(stack.discord().channel_messages(scene.guild.general), [], "{case}");
    check_manners(stack);
}

/// A further message cannot be repeated, and an edit can: where it is not known whether one is there, all of the answer is in the first one's file.
#[tokio::test]
async fn a_further_message_of_which_nothing_is_heard_is_not_sent_again() {
    let stack = stack().await;
    let scene = &Scene::new(stack).await;
    let cases = [
        (Fault::ServerError, 0),
        (Fault::Silence, 0),
        (Fault::Break, 0),
        (Fault::DoneAndFailed, 1),
        (Fault::Stall, 1),
        (Fault::Drop, 1),
    ];

    let each = cases.map(async |(fault, done)| {
        for before in [0, 1] {
            let case = &format!("message {} after the first: {fault:?}.", before + 1);
            let interaction = scene.ask_about(stack, &long_text(case));
            let discord = stack.discord();
            discord.fail_call(interaction.id, Call::FollowUp, Fault::Delayed(Duration::ZERO), before);
            discord.fail_call(interaction.id, Call::FollowUp, fault, 1);
            scene.deliver(stack, &interaction).await;
            scene.check_file(stack, &interaction, case, before + done, case).await;
            assert_eq!(calls(stack, &interaction, Call::FollowUp).len(), before + 1, "{case}");
            assert_eq!(asked(stack, case), 1, "{case}");
        }
    });
    join_all(each).await;

    let case = "a limit, which takes nothing";
    let interaction = scene.ask_about(stack, &long_text(case));
    stack
        .discord()
        .fail_call(interaction.id, Call::FollowUp, limited(MOMENT), 2);
    scene.deliver(stack, &interaction).await;
    scene.check_answer(stack, &interaction, case, case).await;
    assert_eq!(stack.discord().visible(interaction.id).len(), 3, "{case}");
    check_manners(stack);
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_is_apologised_for_once() {
    let stack = stack().await;
    let apology = async |fault| {
        let scene = Scene::new(stack).await;
        let fail = |times| {
            stack
                .worker_manager()
                .fail(scene.agent.id, ManagerCall::Any, fault, times);
        };
        fail(ALWAYS);
        let case = &format!("{fault:?}");
        let interaction = scene.activate(stack);
        scene.deliver(stack, &interaction).await;
        let [apology] = <[String; 1]>::try_from(texts(&stack.discord().visible(interaction.id))).unwrap();
        scene.check_is_over(stack, &interaction, "apologised", case).await;
        let state = scene.manage(stack, Method::GET, "connection").await.json();
        assert_eq!(state["connection"]["worker_status"], "error", "{case}");

        stack.worker_manager().mend(scene.agent.id);
        let again = scene.activate(stack);
        scene.deliver(stack, &again).await;
        let started = texts(&stack.discord().visible(again.id)).join("\n");
        eventually("its worker is active", DEADLINE, async || {
            let state = scene.manage(stack, Method::GET, "connection").await.json();
            state["connection"]["worker_status"] == "active"
        })
        .await;
        format!("{apology}\n{started}")
    };

    let (down, failing, silent) = join!(
        apology(ManagerFault::Break),
        apology(ManagerFault::Status(500)),
        apology(ManagerFault::Silence),
    );

    assert_snapshot!(down, @"
    Sorry, `Atlas` cannot be started. Something went wrong on our side. Please try again later.
    `Atlas` is starting. It stops by itself after 10 minutes without a question.
    ");
    assert_snapshot!(failing, @"
    Sorry, `Atlas` cannot be started. Something went wrong on our side. Please try again later.
    `Atlas` is starting. It stops by itself after 10 minutes without a question.
    ");
    assert_snapshot!(silent, @"
    Sorry, `Atlas` cannot be started. That took too long. Please try again in a minute.
    `Atlas` is starting. It stops by itself after 10 minutes without a question.
    ");
    assert_eq!(stack.worker_manager().complaints(), Vec::<String>::new());
    check_manners(stack);
}

#[tokio::test]
async fn a_database_that_is_slow_or_gone_is_not_waited_for() {
    let stack = &Stack::of_its_own(brisk()).await;
    let scene = Scene::new(stack).await;

    let case = "slow to take the question";
    let interaction = scene.ask(stack, case);
    let gate = Gate::close(stack, &interaction, "INSERT", "true").await;
    let delivered = scene.deliver(stack, &interaction).await;
    let first = delivered.acknowledged.unwrap();
    assert_eq!((first.way, first.kind), (Way::Inline, 4), "{case}");
    assert_snapshot!(texts(&stack.discord().visible(interaction.id)).join("\n"), @"Sorry, I was too slow. Please try again.");
    gate.open(stack).await;
    eventually("it is written after all", DEADLINE, async || {
        let statement = "SELECT count(*) FROM app.discord_interactions WHERE interaction_id = $1";
        stack
            .db()
            .scalar::<i64>(statement, &[&interaction.id.to_string()])
            .await
            == 1
    })
    .await;
    end_leases(stack, &interaction).await;
    sweep_until_over(stack, &interaction, case).await;
    scene.check_is_over(stack, &interaction, "apologised", case).await;
    assert_eq!(
        asked(stack, case),
        0,
        "{case}: who was told to try again has tried again"
    );
    assert_snapshot!(texts(&stack.discord().visible(interaction.id)).join("\n"), @"Sorry, I was too slow. Please try again.");

    let case = "slow to tell the keys";
    let interaction = scene.ask(stack, case);
    let lock = stack.as_role("none", &serde_json::Value::Null).await;
    lock.batch_execute("LOCK TABLE public.agent_discord_connections IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let delivered = scene.deliver(stack, &interaction).await;
    assert_eq!(delivered.answer.map(|answer| answer.status), Some(503), "{case}");
    lock.batch_execute("ROLLBACK").await.unwrap();
    sweep(stack).await;
    assert_eq!(stack.discord().recorded(interaction.id), [], "{case}");

    let case = "quick again";
    let interaction = scene.ask(stack, case);
    scene.deliver(stack, &interaction).await;
    scene.check_answer(stack, &interaction, case, case).await;

    let case = "gone while the model is asked";
    scene.set_model(stack, "stand-in-slow").await;
    let interaction = scene.ask(stack, case);
    let dying = async {
        eventually(case, DEADLINE, async || asked(stack, case) == 1).await;
        stack.postgres().lock().await.kill().await.unwrap();
    };
    join!(scene.deliver(stack, &interaction), dying);
    assert!(scene.is_thinking(stack, &interaction), "{case}");
    stack.postgres().lock().await.restart().await.unwrap();
    end_leases(stack, &interaction).await;
    sweep_until_over(stack, &interaction, case).await;
    scene.check_answer(stack, &interaction, case, case).await;
    assert_eq!(calls(stack, &interaction, Call::Edit).len(), 1, "{case}");
    check_manners(stack);
}

#[tokio::test]
async fn when_discord_has_refused_too_much_it_is_not_called_for_a_while() {
    let stack = &Stack::of_its_own(brisk()).await;
    let scene = Scene::new(stack).await;
    let is_paused = async || {
        let statement = "SELECT coalesce(paused_until > clock_timestamp(), false) FROM app.discord_state";
        stack.db().scalar::<bool>(statement, &[]).await
    };

    let case = "one refusal too many";
    let many = "UPDATE app.discord_state SET refused = 1000000, refused_since = clock_timestamp()";
    stack.db().execute(many, &[]).await;
    let refused = scene.ask(stack, case);
    stack.discord().fail_call(refused.id, Call::Callback, Fault::Blocked, 1);
    scene.deliver(stack, &refused).await;
    assert!(is_paused().await, "{case}");
    assert!(scene.is_thinking(stack, &refused), "{case}");

    let case = "asked in the pause";
    let paused = scene.ask(stack, case);
    let delivered = scene.deliver(stack, &paused).await;
    let first = delivered.acknowledged.unwrap();
    assert_eq!((first.way, first.kind), (Way::Inline, 5), "{case}");
    for interaction in [&refused, &paused] {
        let due = answer_due_in(stack, interaction).await.unwrap();
        assert!(due > Duration::from_secs(30), "{case}: {due:?}");
        make_due(stack, interaction).await;
    }
    sweep(stack).await;
    assert_eq!(stack.discord().recorded(paused.id), [], "{case}");
    assert_eq!(stack.discord().recorded(refused.id).len(), 1, "{case}");
    assert_eq!(asked(stack, case), 0, "{case}");

    let end = "UPDATE app.discord_state SET refused = 0, paused_until = NULL";
    stack.db().execute(end, &[]).await;
    for (interaction, case) in [(refused, "one refusal too many"), (paused, "asked in the pause")] {
        sweep_until_over(stack, &interaction, case).await;
        scene.check_answer(stack, &interaction, case, case).await;
        assert_eq!(asked(stack, case), 1, "{case}");
    }
    check_manners(stack);
}

#[tokio::test]
async fn while_discord_takes_nothing_from_here_nothing_is_sent_for_any_interaction() {
    let stack = &Stack::of_its_own(brisk()).await;
    let scene = Scene::new(stack).await;

    let case = "told that nothing is taken";
    let told = scene.ask(stack, case);
    stack
        .discord()
        .fail_call(told.id, Call::Edit, Fault::Banned(LONG_LIMIT), 1);
    scene.deliver(stack, &told).await;
    let case = "asked meanwhile";
    let held = scene.ask(stack, case);
    let delivered = scene.deliver(stack, &held).await;
    let first = delivered.acknowledged.unwrap();
    assert_eq!((first.way, first.kind), (Way::Inline, 5), "{case}");
    assert_eq!(stack.discord().recorded(held.id), [], "{case}");

    for (interaction, case, edits) in [(told, "told that nothing is taken", 2), (held, "asked meanwhile", 1)] {
        sweep_when_due(stack, &interaction, case).await;
        scene.check_answer(stack, &interaction, case, case).await;
        let edited = calls(stack, &interaction, Call::Edit);
        assert_eq!(edited.len(), edits, "{case}: {edited:?}");
        assert_eq!(asked(stack, case), 1, "{case}");
    }
    check_manners(stack);
}

/// Whoever was away longer than the lease lasts finds that another has gone on, and stops.
#[tokio::test]
async fn whoever_comes_back_too_late_does_nothing_more() {
    let stack = &Stack::of_its_own(patient()).await;
    let other = &stack.beside(patient()).await;
    let (scene, slow) = (
        &Scene::new(stack).await,
        Scene::with_model(stack, "stand-in-slow").await,
    );
    let long = Duration::from_secs(3);

    let over_the_model = async {
        let case = "away while the model is asked";
        let question = format!("{case}? {}", "This is long. ".repeat(12));
        let interaction = slow.ask(stack, &question);
        let taking_over = async {
            eventually(case, DEADLINE, async || asked(stack, case) == 1).await;
            end_job_lease(stack, &interaction).await;
            sweep(other).await;
            assert!(
                slow.is_thinking(stack, &interaction),
                "{case}: another waits for the turn"
            );
        };
        join!(slow.deliver(stack, &interaction), taking_over);
        assert_eq!(calls(stack, &interaction, Call::Edit), [], "{case}: it has stopped");
        sweep_until_over(other, &interaction, case).await;
        slow.check_answer(stack, &interaction, case, case).await;
        assert_eq!(asked(stack, case), 1, "{case}");
    };
    let over_the_answer = [Fault::Delayed(long), Fault::Late(long)].map(async |fault| {
        let case = &format!("away over the answer: {fault:?}.");
        let interaction = scene.ask(stack, case);
        stack.discord().fail_call(interaction.id, Call::Edit, fault, 1);
        let taking_over = async {
            until_part(stack, &interaction, 1, case).await;
            end_job_lease(stack, &interaction).await;
            sweep_until_over(other, &interaction, case).await;
        };
        join!(scene.deliver(stack, &interaction), taking_over);
        assert_eq!(calls(stack, &interaction, Call::Edit).len(), 2, "{case}");
        scene.check_answer(stack, &interaction, case, case).await;
        assert_eq!(asked(stack, case), 1, "{case}");
    });
    let over_a_part = [Fault::Delayed(long), Fault::Late(long)].map(async |fault| {
        let case = &format!("away over the second part: {fault:?}.");
        let interaction = scene.ask_about(stack, &long_text(case));
        stack.discord().fail_call(interaction.id, Call::FollowUp, fault, 1);
        let taking_over = async {
            until_part(stack, &interaction, 2, case).await;
            end_job_lease(stack, &interaction).await;
            sweep_until_over(other, &interaction, case).await;
        };
        join!(scene.deliver(stack, &interaction), taking_over);
        assert_eq!(calls(stack, &interaction, Call::FollowUp).len(), 1, "{case}");
        scene.check_file(stack, &interaction, case, 1, case).await;
        assert_eq!(asked(stack, case), 1, "{case}");
    });
    join!(over_the_model, join_all(over_the_answer), join_all(over_a_part));
    check_manners(stack);
}

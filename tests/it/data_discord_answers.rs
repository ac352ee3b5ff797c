//! What the operations of interactions that are answered later guarantee, whoever calls.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::data_database::{AGENT, TENANT, call, count, texts};
use crate::data_discord_support::{BOT, Bots, GUILD, SECOND_AGENT, interaction, key, names, of, service, with};

/// Begins an interaction.
async fn begin(bots: &Bots, changes: &Value) -> Result<Value, String> {
    bots.serve("begin_interaction", &interaction(changes)).await
}

/// An interaction that was begun, and what is done under the lease of its job.
struct Begun<'a> {
    bots: &'a Bots,
    id: Value,
    job: Value,
}

impl<'a> Begun<'a> {
    async fn new(bots: &'a Bots) -> Self {
        let begun = begin(bots, &json!({})).await.unwrap();
        Self {
            bots,
            id: begun["interaction"]["id"].clone(),
            job: begun["job"].clone(),
        }
    }

    /// The same under a lease that is not, or not any more, the job's.
    fn without_lease(&self) -> Self {
        let job = with(self.job.clone(), &json!({ "lease_id": TENANT }));
        Self {
            bots: self.bots,
            id: self.id.clone(),
            job,
        }
    }

    async fn call(&self, operation: &str, changes: &Value) -> Value {
        let input = with(json!({ "id": self.id, "job": self.job, "lease_seconds": 600 }), changes);
        self.bots.serve(operation, &input).await.unwrap()
    }

    async fn write(&self, text: &str, is_apology: bool) -> Value {
        self.call(
            "write_interaction_answer",
            &json!({ "text": text, "is_apology": is_apology }),
        )
        .await
    }

    async fn note(&self, begun: u32, sent: u32) -> Value {
        let parts = json!({ "parts_begun": begun, "parts_sent": sent, "is_doubtful": begun > sent });
        self.call("note_interaction_parts", &parts).await
    }

    async fn settle(&self, outcome: Option<&str>, is_doubtful: bool) -> Value {
        let settled = if outcome.is_some() {
            json!("succeeded")
        } else {
            Value::Null
        };
        let job = with(self.job.clone(), &json!({ "outcome": settled, "run_after_seconds": 0 }));
        let input = json!({ "job": job, "outcome": outcome, "is_doubtful": is_doubtful });
        self.call("settle_interaction", &input).await
    }

    async fn read(&self) -> Value {
        self.call("read_interaction", &json!({})).await["interaction"].clone()
    }
}

#[tokio::test]
async fn an_interaction_is_written_together_with_the_job_that_answers_it() {
    let bots = Bots::new().await;

    let begun = begin(&bots, &json!({})).await.unwrap();

    let (interaction, job) = (&begun["interaction"], &begun["job"]);
    insta::assert_snapshot!(names(interaction), @"agent_id agent_name answer application_id author_id author_name bot channel_id created_at expires_at guild_id id interaction_id is_doubtful is_ephemeral kind message own_key parts_begun parts_sent public_key seconds_left seconds_old token_sealed user_id");
    insta::assert_snapshot!(names(job), @"attempts job_id key kind lease_id requested");
    assert_eq!(
        (&begun["outcome"], &begun["discord_pause_seconds"]),
        (&json!("begun"), &Value::Null)
    );
    assert_eq!(
        (
            &interaction["user_id"],
            &interaction["agent_id"],
            &interaction["agent_name"]
        ),
        (&json!(TENANT), &json!(AGENT), &json!("Agent"))
    );
    assert_eq!(
        (&job["kind"], &job["key"]),
        (&json!("discord_answer"), &interaction["id"])
    );
    let left = interaction["seconds_left"].as_i64().unwrap();
    assert!((860..=870).contains(&left), "{left}");
    // Nobody else has it until the lease runs out.
    let claim = json!({ "kinds": ["discord_answer"], "limit": 9, "lease_seconds": 60 });
    assert_eq!(bots.serve("claim_jobs", &claim).await, Ok(json!({ "jobs": [] })));
    bots.run("UPDATE app.jobs SET lease_expires_at = now()").await;
    let claimed = bots.serve("claim_jobs", &claim).await.unwrap();
    assert_eq!(
        (&claimed["jobs"][0]["job_id"], &claimed["jobs"][0]["attempts"]),
        (&job["job_id"], &json!(1))
    );
}

#[tokio::test]
async fn an_interaction_that_comes_several_times_at_once_is_begun_once() {
    let bots = Bots::new().await;
    let clients = bots.clients(8).await;
    let (caller, input) = (service(), interaction(&json!({})));

    let outcomes = join_all(
        clients
            .iter()
            .map(|client| call(client, "begin_interaction", &caller, &input)),
    )
    .await;

    let repeated = outcomes
        .iter()
        .filter(|outcome| **outcome == Ok(json!({ "outcome": "repeated" })))
        .count();
    let begun = outcomes
        .iter()
        .flatten()
        .filter(|outcome| outcome["outcome"] == "begun")
        .count();
    assert_eq!((begun, repeated), (1, 7), "{outcomes:?}");
    assert_eq!(
        count(&bots.owner, "SELECT count(*) FROM app.discord_interactions", &[]).await,
        1
    );
    assert_eq!(count(&bots.owner, "SELECT count(*) FROM app.jobs", &[]).await, 1);
}

#[tokio::test]
async fn an_agent_is_meant_by_its_id_its_name_or_its_bot() {
    let bots = Bots::new().await;
    bots.run(&format!(
        "INSERT INTO public.agent_discord_connections (user_id, agent_id, guild_id, discord_app_id, discord_public_key)
         VALUES ('{TENANT}', '{SECOND_AGENT}', '{GUILD}', '423456789012345678', repeat('AB', 32))"
    ))
    .await;

    for (number, (agent, expected)) in [
        (json!(AGENT.to_string().to_uppercase()), AGENT),
        (json!(SECOND_AGENT), SECOND_AGENT),
        (json!(" second AGENT "), SECOND_AGENT),
        // The other is used with this one's bot.
        (Value::Null, AGENT),
    ]
    .into_iter()
    .enumerate()
    {
        let changes = json!({ "interaction_id": number.to_string(), "agent": agent });
        let begun = begin(&bots, &changes).await.unwrap();
        assert_eq!(begun["interaction"]["agent_id"], json!(expected), "{agent}");
    }
}

#[tokio::test]
async fn what_may_not_be_asked_here_is_refused_whenever_it_is_asked_again() {
    let ambiguous = format!(
        "UPDATE public.agents SET name = 'Agent';
         INSERT INTO public.agent_discord_connections (user_id, agent_id, guild_id, discord_app_id, discord_public_key)
         VALUES ('{TENANT}', '{SECOND_AGENT}', '{GUILD}', '423456789012345678', repeat('ab', 32))"
    );
    let mut refusals = Vec::new();
    for (preparation, changes) in [
        ("", json!({ "agent": "Nobody" })),
        ("", json!({ "agent": SECOND_AGENT })),
        ("", json!({ "guild_id": "1" })),
        ("", json!({ "application_id": "1" })),
        ("", json!({ "public_key": "cd".repeat(32) })),
        (
            "UPDATE public.agent_discord_connections SET is_enabled = false WHERE guild_id IS NOT NULL",
            json!({}),
        ),
        (
            "UPDATE public.agent_discord_connections SET allowed_channel_ids = '{6}' WHERE guild_id IS NOT NULL",
            json!({}),
        ),
        (
            "UPDATE public.agent_discord_connections SET allowed_channel_ids = '{}' WHERE guild_id IS NOT NULL",
            json!({ "kind": "ask_about" }),
        ),
        ("UPDATE public.agents SET active = false", json!({})),
        (ambiguous.as_str(), json!({ "agent": "agent" })),
    ] {
        let bots = Bots::new().await;
        bots.run(preparation).await;

        let refused = begin(&bots, &changes).await.unwrap();

        bots.run(
            "UPDATE public.agents SET active = true;
             UPDATE public.agent_discord_connections SET is_enabled = true, allowed_channel_ids = NULL",
        )
        .await;
        assert_eq!(begin(&bots, &changes).await.as_ref(), Ok(&refused), "{changes}");
        assert_eq!(bots.jobs("discord_answer").await, Vec::<String>::new());
        let kept = "SELECT concat(message, token_sealed) FROM app.discord_interactions";
        assert_eq!(bots.text(kept).await, "", "{changes}");
        refusals.push(format!("{} {}", refused["reason"], refused["agent_name"]));
    }

    insta::assert_snapshot!(refusals.join("\n"), @r#"
    "agent_unknown" null
    "agent_unknown" null
    "agent_unknown" null
    "agent_unknown" null
    "agent_unknown" null
    "agent_not_enabled" "Agent"
    "channel_not_allowed" "Agent"
    "channel_not_allowed" "Agent"
    "agent_inactive" "Agent"
    "agent_ambiguous" null
    "#);
}

#[tokio::test]
async fn a_worker_is_commanded_in_any_channel_and_stopped_though_its_agent_is_inactive() {
    let bots = Bots::new().await;
    bots.run("UPDATE public.agent_discord_connections SET allowed_channel_ids = '{6}' WHERE guild_id IS NOT NULL")
        .await;
    let command = async |id: &str, kind: &str| {
        let changes = json!({ "interaction_id": id, "kind": kind, "message": null });
        let begun = begin(&bots, &changes).await.unwrap();
        format!("{} {}", begun["outcome"], begun["reason"])
    };

    let activated = command("1", "activate").await;
    bots.run("UPDATE public.agents SET active = false").await;
    let outcomes = [
        activated,
        command("2", "activate").await,
        command("3", "deactivate").await,
    ];

    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    "begun" null
    "refused" "agent_inactive"
    "begun" null
    "#);
}

#[tokio::test]
async fn a_copy_of_an_application_and_its_key_is_neither_listed_nor_asked() {
    let bots = Bots::new().await;
    let (_, copy) = bots.copycat().await;
    let list = |id: &str, own_key: bool| {
        with(
            interaction(&json!({ "interaction_id": id, "own_key": own_key, "kind": "agents" })),
            &json!({ "name_prefix": "", "limit": 25 }),
        )
    };
    let listed = async |input: Value| {
        let agents = bots.serve("list_guild_agents", &input).await.unwrap()["agents"].clone();
        let names: Vec<_> = agents
            .as_array()
            .unwrap()
            .iter()
            .map(|agent| agent["name"].clone())
            .collect();
        names
    };

    assert_eq!(listed(list("1", false)).await, ["Agent"]);
    let asked = begin(&bots, &json!({ "interaction_id": "2", "agent": copy })).await;
    assert_eq!(
        asked,
        Ok(json!({ "outcome": "refused", "reason": "agent_unknown", "agent_name": null }))
    );

    // Neither is the tenant's, once its token is gone.
    bots.ask("clear_bot_token", &of(AGENT)).await.unwrap();
    assert_eq!(listed(list("3", false)).await, Vec::<Value>::new());
    // Under the deployment's own key every connection counts.
    assert_eq!(listed(list("4", true)).await, ["Agent", "Copy"]);
    let asked = begin(&bots, &json!({ "interaction_id": "5", "agent": copy, "own_key": true }))
        .await
        .unwrap();
    assert_eq!(
        (&asked["outcome"], &asked["interaction"]["agent_id"]),
        (&json!("begun"), &json!(copy))
    );
}

#[tokio::test]
async fn interactions_of_an_application_have_a_limit() {
    let bots = Bots::new().await;
    let narrow = |id: &str| json!({ "interaction_id": id, "per_minute": 1, "burst": 1 });

    begin(&bots, &narrow("1")).await.unwrap();

    assert_eq!(begin(&bots, &narrow("2")).await, Err("PT429 rate_limited".to_owned()));
    let strangers = with(narrow("3"), &json!({ "public_key": "cd".repeat(32) }));
    assert!(begin(&bots, &strangers).await.is_ok());
    assert_eq!(
        count(&bots.owner, "SELECT count(*) FROM app.discord_interactions", &[]).await,
        2
    );
}

#[tokio::test]
async fn whoever_speaks_has_a_quarter_of_an_applications_limit() {
    let bots = Bots::new().await;
    let narrow = |id: u8, author: &str| json!({ "interaction_id": id.to_string(), "author_id": author, "per_minute": 4, "burst": 8 });
    let limited = Err("PT429 rate_limited".to_owned());

    for id in 1..=2 {
        begin(&bots, &narrow(id, "8")).await.unwrap();
    }

    assert_eq!(begin(&bots, &narrow(3, "8")).await, limited);
    for (author, ids) in [("9", 4..=5), ("10", 6..=7), ("11", 8..=9)] {
        for id in ids {
            begin(&bots, &narrow(id, author)).await.unwrap();
        }
    }
    assert_eq!(begin(&bots, &narrow(10, "12")).await, limited, "all of it is used up");
}

#[tokio::test]
async fn what_is_asked_while_somebody_types_takes_nothing_from_what_is_said() {
    let bots = Bots::new().await;
    let narrow = |id: u8, kind: &str| {
        let limits = json!({
            "interaction_id": id.to_string(), "kind": kind, "name_prefix": "", "limit": 25, "per_minute": 1, "burst": 1,
        });
        interaction(&limits)
    };
    let limited = Err("PT429 rate_limited".to_owned());

    for id in 1..=5 {
        bots.serve("list_guild_agents", &narrow(id, "choices")).await.unwrap();
    }

    assert_eq!(bots.serve("list_guild_agents", &narrow(6, "choices")).await, limited);
    assert!(bots.serve("list_guild_agents", &narrow(7, "agents")).await.is_ok());
    assert_eq!(bots.serve("list_guild_agents", &narrow(8, "agents")).await, limited);
}

#[tokio::test]
async fn a_bot_that_is_switched_off_shows_nobodys_right() {
    let bots = Bots::new().await;
    bots.set("is_enabled = false").await;
    let list = |id: &str, own_key: bool| {
        let input = interaction(&json!({ "interaction_id": id, "own_key": own_key, "kind": "agents" }));
        with(input, &json!({ "name_prefix": "", "limit": 25 }))
    };
    let listed = async |input: Value| bots.serve("list_guild_agents", &input).await.unwrap()["total"].clone();

    assert_eq!(listed(list("1", false)).await, 0);
    let asked = begin(&bots, &json!({ "interaction_id": "2" })).await;
    assert_eq!(
        asked,
        Ok(json!({ "outcome": "refused", "reason": "agent_unknown", "agent_name": null }))
    );
    assert_eq!(listed(list("3", true)).await, 1);

    bots.set("is_enabled = true").await;
    assert_eq!(listed(list("4", false)).await, 1);
}

#[tokio::test]
async fn the_answer_that_was_written_first_is_the_answer() {
    let bots = Bots::new().await;
    let begun = Begun::new(&bots).await;
    let first = json!({ "held": true, "answer": { "text": "Forty-two.", "is_apology": false } });

    assert_eq!(begun.write("Forty-two.", false).await, first);
    assert_eq!(begun.write("Sorry.", true).await, first);

    assert_eq!(begun.read().await["answer"], first["answer"]);
    let kept = "SELECT count(*) FROM app.jobs WHERE lease_expires_at > now() + interval '9 minutes'";
    assert_eq!(count(&bots.owner, kept, &[]).await, 1);
}

#[tokio::test]
async fn of_answers_that_are_written_at_once_all_learn_the_same() {
    let bots = Bots::new().await;
    let begun = Begun::new(&bots).await;
    let clients = bots.clients(8).await;
    let caller = service();

    let outcomes = join_all(clients.iter().enumerate().map(async |(number, client)| {
        let input = json!({
            "id": begun.id, "job": begun.job, "lease_seconds": 60, "text": number.to_string(), "is_apology": false,
        });
        call(client, "write_interaction_answer", &caller, &input).await
    }))
    .await;

    let first = outcomes[0].clone().unwrap();
    assert_eq!(first["held"], true);
    assert!(
        outcomes.iter().all(|outcome| outcome.as_ref() == Ok(&first)),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn who_lost_the_lease_writes_nothing() {
    let bots = Bots::new().await;
    let begun = Begun::new(&bots).await;
    let late = begun.without_lease();
    let all = "SELECT i::text FROM app.discord_interactions AS i UNION ALL SELECT job::text FROM app.jobs AS job";
    let before = texts(&bots.owner, all, &[]).await;

    assert_eq!(
        late.write("Late.", false).await,
        json!({ "held": false, "answer": null })
    );
    assert_eq!(late.note(1, 1).await, json!({ "held": false }));
    assert_eq!(late.settle(Some("answered"), false).await, json!({ "held": false }));

    assert_eq!(texts(&bots.owner, all, &[]).await, before);
}

#[tokio::test]
async fn it_is_written_what_was_sent_and_what_may_have_been() {
    let bots = Bots::new().await;
    let begun = Begun::new(&bots).await;
    let parts = async || {
        let read = begun.read().await;
        format!("{} {} {}", read["parts_begun"], read["parts_sent"], read["is_doubtful"])
    };

    begun.note(1, 0).await;
    assert_eq!(parts().await, "1 0 true");
    begun.note(1, 1).await;
    assert_eq!(parts().await, "1 1 false");
    begun.note(2, 1).await;
    assert_eq!(parts().await, "2 1 true");
    let impossible = json!({
        "id": begun.id, "job": begun.job, "lease_seconds": 60, "parts_begun": 1, "parts_sent": 2, "is_doubtful": false,
    });
    assert_eq!(
        bots.serve("note_interaction_parts", &impossible).await,
        Err("23514 discord_interactions_parts_check".to_owned())
    );
}

#[tokio::test]
async fn an_interaction_that_is_left_for_later_keeps_what_it_needs() {
    let bots = Bots::new().await;
    let begun = Begun::new(&bots).await;
    begun.write("Forty-two.", false).await;

    assert_eq!(begun.settle(None, true).await, json!({ "held": true }));

    let read = begun.read().await;
    assert_eq!(
        (
            &read["message"],
            &read["token_sealed"],
            &read["answer"]["text"],
            &read["is_doubtful"]
        ),
        (
            &json!("canary-question"),
            &json!("canary-sealed-token"),
            &json!("Forty-two."),
            &json!(true)
        )
    );
    assert_eq!(bots.jobs("discord_answer").await, ["open 1 due"]);
}

#[tokio::test]
async fn what_was_said_is_forgotten_when_it_is_answered() {
    for outcome in ["answered", "apologised", "expired", "gone"] {
        let bots = Bots::new().await;
        let begun = Begun::new(&bots).await;
        begun.write("canary-answer", false).await;

        assert_eq!(begun.settle(Some(outcome), false).await, json!({ "held": true }));

        assert_eq!(begun.read().await, Value::Null);
        let row = bots.text("SELECT i::text FROM app.discord_interactions AS i").await;
        assert!(!row.contains("canary") && row.contains(outcome), "{row}");
        assert_eq!(bots.jobs("discord_answer").await, ["succeeded 1 due"]);
        assert_eq!(begin(&bots, &json!({})).await, Ok(json!({ "outcome": "repeated" })));
        assert_eq!(begun.settle(Some("gone"), false).await, json!({ "held": false }));
    }
}

#[tokio::test]
async fn what_was_asked_outlives_its_agent_and_its_bot() {
    let bots = Bots::new().await;
    let begun = Begun::new(&bots).await;

    bots.run("DELETE FROM auth.users").await;

    let read = begun.read().await;
    assert_eq!(
        (&read["agent_name"], &read["user_id"]),
        (&json!("Agent"), &json!(TENANT))
    );
    assert_eq!(begun.write("Sorry.", true).await["held"], true);
    assert_eq!(begun.settle(Some("apologised"), false).await, json!({ "held": true }));
}

#[tokio::test]
async fn interactions_are_removed_once_nobody_can_ask_for_them_again() {
    let bots = Bots::new().await;
    Begun::new(&bots).await;
    let rows = "SELECT count(*) FROM app.discord_interactions";
    let prune = async || {
        bots.run("UPDATE app.sweep_state SET pruned_at = NULL").await;
        bots.serve("prune_expired", &json!({ "limit": 100 })).await.unwrap();
        count(&bots.owner, rows, &[]).await
    };

    let age = async |age: &str| {
        bots.run(&format!(
            "UPDATE app.discord_interactions SET created_at = now() - interval '{age}'"
        ))
        .await;
    };

    // One that has its token still may be answered, or be told of in its channel.
    for young in ["0 minutes", "1 hour", "23 hours 59 minutes"] {
        age(young).await;
        assert_eq!(prune().await, 1, "{young}");
    }
    age("1 day").await;
    assert_eq!(prune().await, 0);
    bots.run("DELETE FROM app.jobs").await;
    let begun = Begun::new(&bots).await;
    begun.settle(Some("answered"), false).await;
    age("59 minutes").await;
    assert_eq!(prune().await, 1);
    age("1 hour").await;
    assert_eq!(prune().await, 0);
}

#[tokio::test]
async fn no_user_has_a_part_in_an_interaction() {
    let bots = Bots::new().await;
    let begun = Begun::new(&bots).await;
    let input = json!({
        "id": begun.id, "job": begun.job, "lease_seconds": 60, "text": "Mine.", "is_apology": false, "parts_begun": 1,
        "parts_sent": 1, "is_doubtful": false, "outcome": "answered",
    });

    for operation in [
        "read_interaction",
        "write_interaction_answer",
        "note_interaction_parts",
        "settle_interaction",
    ] {
        assert_eq!(
            bots.ask(operation, &input).await,
            Err("42501".to_owned()),
            "{operation}"
        );
    }
    for operation in ["begin_interaction", "list_guild_agents"] {
        let refused = bots
            .ask(operation, &interaction(&json!({ "interaction_id": "2" })))
            .await;
        assert_eq!(refused, Err("42501".to_owned()), "{operation}");
    }
    assert_eq!(begun.read().await["public_key"], json!(key()));
    assert_eq!(bots.bot("id").await, BOT.to_string());
}

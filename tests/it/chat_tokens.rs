//! `chat`: tokens of published keys, and what happens when the keys change or cannot be had.
//!
//! Each test has a Supabase of its own, and an application that believes it.

use agentopia_stack::token::Signer;
use agentopia_stack::worlds::JwksWorld;
use agentopia_tests::{Agent, Response, Stack, StackOptions, User};
use insta::assert_snapshot;

use crate::chat_support::CHAT;

/// A user, an agent of theirs, and an application that asks `jwks` who they are.
struct Project {
    stack: Stack,
    jwks: JwksWorld,
    user: User,
    agent: Agent,
}

impl Project {
    async fn start(published: &[&Signer]) -> Self {
        let jwks = JwksWorld::start(published).await.unwrap();
        let stack = Stack::beside_shared(StackOptions::default().set("supabase_origin", jwks.origin())).await;
        let user = stack.user().await;
        let agent = user.agent("Atlas").await;
        Self {
            stack,
            jwks,
            user,
            agent,
        }
    }

    /// The same project in an application that has not seen any key yet.
    async fn in_a_new_application(self) -> Self {
        let stack = Stack::beside_shared(StackOptions::default().set("supabase_origin", self.jwks.origin())).await;
        Self { stack, ..self }
    }

    /// Asks as the user, with a token that `signer` signed.
    async fn ask(&self, signer: &Signer) -> Response {
        let token = signer.sign(&self.user.claims().issued_by(self.jwks.issuer())).unwrap();
        let body = serde_json::json!({ "agentId": self.agent.id, "message": "Hello" });
        self.stack.post(CHAT).bearer(&token).json(&body).await
    }

    /// Lets the time since the keys were last fetched pass.
    async fn pass_seconds(&self, seconds: f64) {
        let statement = "UPDATE app.signing_keys
                         SET attempted_at = attempted_at - make_interval(secs => $2),
                             fetched_at = fetched_at - make_interval(secs => $2)
                         WHERE url = $1";
        assert_eq!(
            self.stack.db().execute(statement, &[&self.jwks.url(), &seconds]).await,
            1
        );
    }
}

#[tokio::test]
async fn tokens_of_published_keys_prove_their_user() {
    let (elliptic, rsa) = (Signer::es256("elliptic").unwrap(), Signer::rs256("rsa").unwrap());
    let project = Project::start(&[&elliptic, &rsa]).await;

    for signer in [&elliptic, &rsa] {
        let response = project.ask(signer).await;

        assert_eq!(response.status(), 200, "{:?}: {response}", signer.kid());
    }

    let said = project
        .stack
        .db()
        .direct_transcript(project.user.id, project.agent.id)
        .await;
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(project.jwks.fetches(), 1);
    assert_eq!(project.jwks.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_published_key_verifies_only_its_own_algorithm() {
    let elliptic = Signer::es256("one").unwrap();
    let project = Project::start(&[&elliptic]).await;
    let public_key = serde_json::to_string(&elliptic.jwk().unwrap()).unwrap();

    // The same key id on another algorithm's signature, and the public key as a shared secret.
    for impostor in [
        Signer::rs256("one").unwrap(),
        Signer::es256("one").unwrap(),
        Signer::hs256(&public_key),
    ] {
        let response = project.ask(&impostor).await;

        insta::allow_duplicates! {
            assert_snapshot!(response, @r#"
            401 Unauthorized
            www-authenticate: Bearer
            {"code":"invalid_token","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
            "#);
        }
    }
}

#[tokio::test]
async fn a_project_without_a_shared_secret_takes_no_token_of_one() {
    let jwks = JwksWorld::start(&[]).await.unwrap();
    let options = StackOptions::default()
        .set("supabase_origin", jwks.origin())
        .set("jwt_secret", "");
    let stack = Stack::beside_shared(options).await;
    let user = stack.user().await;

    for secret in ["", "secret", stack.jwt_secret()] {
        let token = Signer::hs256(secret)
            .sign(&user.claims().issued_by(jwks.issuer()))
            .unwrap();
        let response = stack.post(CHAT).bearer(&token).await;

        assert_eq!(response.status(), 401, "{secret:?}: {response}");
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_then_known() {
    let (old, new) = (Signer::es256("old").unwrap(), Signer::es256("new").unwrap());
    let project = Project::start(&[&old]).await;
    assert_eq!(project.ask(&old).await.status(), 200);
    project.pass_seconds(31.0).await;

    project.jwks.set_keys(&[&old, &new]).unwrap();
    for signer in [&new, &new, &old] {
        assert_eq!(project.ask(signer).await.status(), 200, "{:?}", signer.kid());
    }

    assert_eq!(project.jwks.fetches(), 2);
}

#[tokio::test]
async fn made_up_key_ids_make_at_most_one_fetch_in_thirty_seconds() {
    let known = Signer::es256("known").unwrap();
    let project = Project::start(&[&known]).await;
    assert_eq!(project.ask(&known).await.status(), 200);
    assert_eq!(project.jwks.fetches(), 1);
    let ask_with_made_up_keys = async || {
        for number in 0..5 {
            let response = project.ask(&Signer::es256(&format!("made up {number}")).unwrap()).await;
            insta::allow_duplicates! {
                assert_snapshot!(response, @r#"
                401 Unauthorized
                www-authenticate: Bearer
                {"code":"invalid_token","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
                "#);
            }
        }
    };

    ask_with_made_up_keys().await;
    assert_eq!(project.jwks.fetches(), 1, "within thirty seconds of the last fetch");
    project.pass_seconds(31.0).await;
    ask_with_made_up_keys().await;
    assert_eq!(project.jwks.fetches(), 2, "after them");

    assert_eq!(project.ask(&known).await.status(), 200);
}

#[tokio::test]
async fn keys_that_were_fetched_before_serve_while_their_source_is_down() {
    let signer = Signer::es256("only").unwrap();
    let project = Project::start(&[&signer]).await;
    assert_eq!(project.ask(&signer).await.status(), 200);
    project.pass_seconds(11.0 * 60.0).await;
    project.jwks.set_down(true);

    let project = project.in_a_new_application().await;
    let response = project.ask(&signer).await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_eq!(project.jwks.fetches(), 2, "it was asked, and did not answer");
}

#[tokio::test]
async fn without_any_key_nobody_can_be_verified_until_the_source_is_back() {
    let signer = Signer::es256("only").unwrap();
    let project = Project::start(&[&signer]).await;
    project.jwks.set_down(true);

    let response = project.ask(&signer).await;

    assert_snapshot!(response, @r#"
    503 Service Unavailable
    retry-after: 5
    {"code":"signing_keys_unavailable","error":"Tokens cannot be verified right now.","message":"Tokens cannot be verified right now.","request_id":"[request id]"}
    "#);
    project.jwks.set_down(false);
    assert_eq!(project.ask(&signer).await.status(), 200);
}

//! A machine's containers: what an agent is told to do about them, and what it reports.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// It is being made or started.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It was stopped.
    Stopped,
    /// It ended by itself.
    Crashed {
        /// With this.
        exit_code: i64,
    },
    /// It is being removed.
    Removing,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The tool instance that it is for.
    pub instance_id: Uuid,
    /// Its name.
    pub name: String,
    /// What it was made from: by digest where one was told.
    pub image: String,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// Of which generation of its instance it was made.
    pub generation: i64,
    /// Its state.
    pub state: ContainerState,
}

/// What is to be done about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    None,
    Deploy,
    Replace,
    Start,
    Stop,
    Remove,
}

/// What an answer says of an instance.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    account_tool_instance_id: Uuid,
    instance_name_on_toolbox: String,
    action: Action,
    generation: i64,
    image: String,
    image_tag: Option<String>,
    image_digest: Option<String>,
    environment: Map<String, Value>,
}

/// The containers of a machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Containers(BTreeMap<Uuid, Container>);

impl Containers {
    /// All of them.
    pub(super) fn all(&self) -> Vec<Container> {
        self.0.values().cloned().collect()
    }

    /// Whether there is one for an instance, and it runs.
    pub(super) fn is_running(&self, instance_id: Uuid) -> bool {
        self.0
            .get(&instance_id)
            .is_some_and(|container| container.state == ContainerState::Running)
    }

    /// What is reported of them.
    pub(super) fn report(&self) -> Value {
        self.0.values().map(Container::report).collect()
    }

    /// Ends one by itself. Whether there is one of this name.
    pub(super) fn crash(&mut self, name: &str, exit_code: i64) -> bool {
        let container = self.0.values_mut().find(|container| container.name == name);
        container
            .map(|container| container.state = ContainerState::Crashed { exit_code })
            .is_some()
    }

    /// Does what it is told, and lets what is on its way come one step further. What cannot be done is said.
    pub(super) fn obey(&mut self, orders: &[Order]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut listed = BTreeSet::new();
        for order in orders {
            if !listed.insert(order.account_tool_instance_id) {
                problems.push(format!("{} is told of twice", order.account_tool_instance_id));
            } else if let Err(problem) = self.follow(order) {
                let name = &order.instance_name_on_toolbox;
                problems.push(format!("{name} cannot be told to {:?}: {problem}", order.action));
            }
        }
        let unlisted: Vec<_> = self.0.keys().filter(|id| !listed.contains(id)).copied().collect();
        for id in unlisted {
            self.remove(id);
        }
        problems
    }

    fn follow(&mut self, order: &Order) -> Result<(), String> {
        use ContainerState as S;

        let id = order.account_tool_instance_id;
        let state = self.0.get(&id).map(|container| container.state);
        let generation = self.0.get(&id).map(|container| container.generation);
        match (order.action, state) {
            (Action::None, None) => {}
            (Action::None, Some(S::Removing)) => self.remove(id),
            (Action::None, Some(state)) => self.set(id, state.next()),
            (Action::Deploy, None) => self.make(order)?,
            (Action::Replace, Some(_)) if generation < Some(order.generation) => self.make(order)?,
            (Action::Start, Some(S::Stopped | S::Crashed { .. })) => self.set(id, S::Starting),
            (Action::Stop, Some(S::Starting | S::Running)) => self.set(id, S::Stopping),
            (Action::Remove, Some(S::Removing)) => return Err("it is being removed".to_owned()),
            (Action::Remove, Some(_)) => self.remove(id),
            (_, None) => return Err("there is none".to_owned()),
            (_, Some(state)) => {
                return Err(format!(
                    "it is {state:?}, of generation {}",
                    generation.unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    fn set(&mut self, id: Uuid, state: ContainerState) {
        if let Some(container) = self.0.get_mut(&id) {
            container.state = state;
        }
    }

    /// Removes a container, which takes as long as until the next time.
    fn remove(&mut self, id: Uuid) {
        let is_on_its_way = |container: &Container| container.state == ContainerState::Removing;
        if self.0.get(&id).is_some_and(is_on_its_way) {
            self.0.remove(&id);
        } else {
            self.set(id, ContainerState::Removing);
        }
    }

    fn make(&mut self, order: &Order) -> Result<(), String> {
        let name = &order.instance_name_on_toolbox;
        let is_taken =
            |container: &Container| container.name == *name && container.instance_id != order.account_tool_instance_id;
        if self.0.values().any(is_taken) {
            return Err("another container has this name".to_owned());
        }
        if !is_container_name(name) {
            return Err("it is no name of a container".to_owned());
        }
        let container = Container {
            instance_id: order.account_tool_instance_id,
            name: name.clone(),
            image: order.reference(),
            environment: order.variables()?,
            generation: order.generation,
            state: ContainerState::Starting,
        };
        self.0.insert(container.instance_id, container);
        Ok(())
    }
}

impl Order {
    /// What is pulled.
    fn reference(&self) -> String {
        match (&self.image_digest, &self.image_tag) {
            (Some(digest), _) => format!("{}@{digest}", self.image),
            (None, Some(tag)) => format!("{}:{tag}", self.image),
            (None, None) => self.image.clone(),
        }
    }

    /// The environment, which is text.
    fn variables(&self) -> Result<BTreeMap<String, String>, String> {
        let variables = self.environment.iter().map(|(name, value)| match value {
            Value::String(text) => Ok((name.clone(), text.clone())),
            Value::Bool(_) | Value::Number(_) => Ok((name.clone(), value.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(format!("the variable {name} is {value}")),
        });
        variables.collect()
    }
}

impl Container {
    /// What is reported of it.
    fn report(&self) -> Value {
        let (word, exit_code, message) = match self.state {
            ContainerState::Starting => ("starting", None, None),
            ContainerState::Running => ("running", None, None),
            ContainerState::Stopping => ("stopping", None, None),
            ContainerState::Stopped => ("exited", Some(0), None),
            ContainerState::Crashed { exit_code } => (
                "exited",
                Some(exit_code),
                Some(format!("It ended with exit code {exit_code}.")),
            ),
            ContainerState::Removing => ("removing", None, None),
        };
        json!({
            "account_tool_instance_id": self.instance_id,
            "instance_name_on_toolbox": self.name,
            "status_on_toolbox": word,
            "generation": self.generation,
            "exit_code": exit_code,
            "message": message,
        })
    }
}

impl ContainerState {
    /// Where it is next, if nothing is done.
    fn next(self) -> Self {
        match self {
            Self::Starting => Self::Running,
            Self::Stopping => Self::Stopped,
            other => other,
        }
    }
}

/// The documented pattern: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
fn is_container_name(name: &str) -> bool {
    name.len() > 1
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn order(action: &str, generation: i64) -> Order {
        serde_json::from_value(json!({
            "account_tool_instance_id": ID,
            "instance_name_on_toolbox": "search",
            "desired": "running",
            "action": action,
            "generation": generation,
            "image": "registry.example/search",
            "image_tag": "1.2",
            "image_digest": null,
            "environment": { "REGION": "eu", "DEBUG": false },
            "resources": { "cpus": 1 },
        }))
        .unwrap()
    }

    /// The states after each of these answers.
    fn states(actions: &[(&str, i64)]) -> Vec<Option<ContainerState>> {
        let mut containers = Containers::default();
        let mut state = |(action, generation): &(&str, i64)| {
            assert_eq!(containers.obey(&[order(action, *generation)]), Vec::<String>::new());
            containers.0.get(&ID).map(|container| container.state)
        };
        actions.iter().map(&mut state).collect()
    }

    #[test]
    fn it_takes_a_step_each_time() {
        use ContainerState as S;

        let life = [
            ("deploy", 1),
            ("none", 1),
            ("none", 1),
            ("stop", 1),
            ("none", 1),
            ("start", 1),
            ("replace", 2),
            ("none", 2),
            ("remove", 2),
            ("none", 2),
            ("none", 2),
        ];

        assert_eq!(
            states(&life),
            [
                Some(S::Starting),
                Some(S::Running),
                Some(S::Running),
                Some(S::Stopping),
                Some(S::Stopped),
                Some(S::Starting),
                Some(S::Starting),
                Some(S::Running),
                Some(S::Removing),
                None,
                None,
            ]
        );
    }

    #[test]
    fn what_is_told_of_no_more_is_removed() {
        let mut containers = Containers::default();
        containers.obey(&[order("deploy", 1)]);

        containers.obey(&[]);
        assert_eq!(containers.all()[0].state, ContainerState::Removing);
        containers.obey(&[]);
        assert!(containers.all().is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let mut containers = Containers::default();
        let mut problems = containers.obey(&[order("start", 1)]);
        containers.obey(&[order("deploy", 3)]);
        problems.extend(containers.obey(&[order("deploy", 3)]));
        problems.extend(containers.obey(&[order("replace", 3)]));
        problems.extend(containers.obey(&[order("none", 3), order("none", 3)]));

        insta::assert_snapshot!(problems.join("\n"), @r"
        search cannot be told to Start: there is none
        search cannot be told to Deploy: it is Starting, of generation 3
        search cannot be told to Replace: it is Starting, of generation 3
        00000000-0000-0000-0000-000000000001 is told of twice
        ");
    }

    #[test]
    fn it_reports_what_there_is() {
        let mut containers = Containers::default();
        containers.obey(&[order("deploy", 4)]);
        let container = &containers.all()[0];
        assert_eq!(container.image, "registry.example/search:1.2");
        assert_eq!(container.environment["DEBUG"], "false");

        assert!(containers.crash("search", 3) && !containers.crash("other", 3));

        assert_eq!(
            containers.report(),
            json!([{
                "account_tool_instance_id": ID,
                "instance_name_on_toolbox": "search",
                "status_on_toolbox": "exited",
                "generation": 4,
                "exit_code": 3,
                "message": "It ended with exit code 3.",
            }])
        );
    }
}

//! The route table, and what a component is told about the route that a request took.

use crate::manifest::{HttpTrigger, Route};
use http::HeaderValue;
use std::sync::Arc;

/// Which trigger answers which path.
#[derive(Debug)]
pub(crate) struct Router(routefinder::Router<Arc<Target>>);

/// A route's end.
#[derive(Debug)]
pub(crate) struct Target {
    /// The index of the trigger in the manifest.
    pub(crate) trigger: usize,
    /// What its component is told.
    pub(crate) facts: RouteFacts,
}

/// What a component is told about its route: the same for every request.
#[derive(Debug)]
pub(crate) struct RouteFacts {
    /// `spin-matched-route`: the route without a trailing slash.
    pub(crate) matched: HeaderValue,
    /// `spin-raw-component-route`: the route as the manifest has it.
    pub(crate) raw: HeaderValue,
    /// `spin-component-route`: the same without `/...`.
    pub(crate) component: HeaderValue,
}

/// A path's way through the table.
pub(crate) struct Match<'a> {
    pub(crate) target: &'a Target,
    /// What a trailing `/...` stands for; empty for an exact route.
    pub(crate) path_info: String,
    /// What each `:name` stands for.
    pub(crate) named: Vec<(String, String)>,
}

impl RouteFacts {
    fn new(raw: &str) -> Result<Self, String> {
        let matched = based(raw);
        let value =
            |text: &str| HeaderValue::from_str(text).map_err(|_| format!("route `{raw}` is not a valid header value"));
        Ok(Self {
            matched: value(&matched)?,
            raw: value(raw)?,
            component: value(raw.strip_suffix("/...").unwrap_or(raw))?,
        })
    }

    /// The facts of a call from one component to another, which takes no route.
    pub(crate) fn internal() -> Self {
        let any = HeaderValue::from_static("/...");
        Self {
            matched: any.clone(),
            raw: any,
            component: HeaderValue::from_static(""),
        }
    }
}

impl Router {
    /// Builds the table; private routes are not in it.
    pub(crate) fn new(triggers: &[HttpTrigger]) -> Result<Self, String> {
        let mut router = routefinder::Router::new();
        let mut known: Vec<String> = Vec::new();
        for (trigger, entry) in triggers.iter().enumerate() {
            let Route::Path(raw) = &entry.route else {
                continue;
            };
            let path = based(raw);
            if known.contains(&path) {
                return Err(format!("route `{raw}` is there twice"));
            }
            let pattern = match path.strip_suffix("/...") {
                Some(prefix) => format!("{prefix}/*"),
                None => path.clone(),
            };
            let facts = RouteFacts::new(raw)?;
            router
                .add(pattern.as_str(), Arc::new(Target { trigger, facts }))
                .map_err(|error| format!("route `{raw}`: {error}"))?;
            known.push(path);
        }
        Ok(Self(router))
    }

    /// Finds a path's route: an exact one before a wildcard, a longer wildcard before a shorter one.
    pub(crate) fn route(&self, path: &str) -> Option<Match<'_>> {
        let found = self.0.best_match(path)?;
        let captures = found.captures();
        // The table does not count slashes at the end; components have always seen them.
        let path_info = match captures.wildcard() {
            None => String::new(),
            Some(rest) => match (rest.is_empty(), path.ends_with('/')) {
                (true, false) => String::new(),
                (true, true) => "/".to_owned(),
                (false, false) => format!("/{rest}"),
                (false, true) => format!("/{rest}/"),
            },
        };
        let named = captures
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Some(Match {
            target: found.handler(),
            path_info,
            named,
        })
    }
}

/// A route as the table has it: with a slash in front and none at the end.
fn based(raw: &str) -> String {
    let path = if raw.starts_with('/') {
        raw.to_owned()
    } else {
        format!("/{raw}")
    };
    path.strip_suffix('/').map(str::to_owned).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(routes: &[&str]) -> Router {
        let triggers: Vec<_> = routes
            .iter()
            .map(|route| HttpTrigger {
                id: None,
                route: Route::Path((*route).to_owned()),
                component: Some((*route).to_owned()),
                static_response: None,
            })
            .collect();
        Router::new(&triggers).unwrap()
    }

    /// The route that a path takes, and what is left of the path.
    fn way<'a>(router: &'a Router, path: &str) -> Option<(&'a str, String)> {
        let found = router.route(path)?;
        Some((found.target.facts.raw.to_str().unwrap(), found.path_info))
    }

    #[test]
    fn the_most_specific_route_wins() {
        let router = router(&[
            "/...",
            "/functions/v1/chat/...",
            "/functions/v1/chat/health",
            "/functions/...",
        ]);
        let rows = [
            ("/", "/...", "/"),
            ("/other/path", "/...", "/other/path"),
            ("/functions", "/functions/...", ""),
            ("/functions/v2", "/functions/...", "/v2"),
            ("/functions/v1/chat", "/functions/v1/chat/...", ""),
            ("/functions/v1/chat/", "/functions/v1/chat/...", "/"),
            ("/functions/v1/chat/a/b/", "/functions/v1/chat/...", "/a/b/"),
            ("/functions/v1/chat/health", "/functions/v1/chat/health", ""),
            ("/functions/v1/chat/health/x", "/functions/v1/chat/...", "/health/x"),
            ("/functions/v1/chatter", "/functions/...", "/v1/chatter"),
        ];

        for (path, route, rest) in rows {
            assert_eq!(way(&router, path), Some((route, rest.to_owned())), "{path}");
        }
    }

    #[test]
    fn unknown_paths_have_no_route() {
        let router = router(&["/exact", "/prefix/..."]);

        assert_eq!(way(&router, "/exact"), Some(("/exact", String::new())));
        assert_eq!(way(&router, "/exact/more"), None);
        assert_eq!(way(&router, "/prefixed"), None);
        assert_eq!(way(&router, "/"), None);
    }

    #[test]
    fn named_segments_are_captured() {
        let router = router(&["/users/:id/..."]);

        let found = router.route("/users/42/posts").unwrap();

        assert_eq!(found.named, [("id".to_owned(), "42".to_owned())]);
        assert_eq!(found.path_info, "/posts");
    }

    #[test]
    fn a_route_may_not_be_there_twice() {
        let trigger = |route: &str| HttpTrigger {
            id: None,
            route: Route::Path(route.to_owned()),
            component: None,
            static_response: None,
        };

        assert!(
            Router::new(&[trigger("/a/..."), trigger("/b"), trigger("/b/")])
                .unwrap_err()
                .contains("/b/")
        );
    }
}

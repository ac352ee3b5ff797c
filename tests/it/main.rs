//! The black-box tests: over HTTP to the built components, then rows in Postgres and what the worlds saw; and the project's own rules.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in tests a panic is the report"
)]

mod chat_access;
mod chat_idempotency;
mod chat_limits;
mod chat_logs;
mod chat_messages;
mod chat_model_faults;
mod chat_outages;
mod chat_outside;
mod chat_prompts;
mod chat_refusals;
mod chat_routes;
mod chat_streams;
mod chat_support;
mod chat_tenants;
mod chat_tokens;
mod credentials_canaries;
mod credentials_fetch;
mod credentials_rotation;
mod data_database;
mod data_discord;
mod data_discord_answers;
mod data_discord_connections;
mod data_discord_support;
mod data_discord_workers;
mod data_heartbeats;
mod data_migrations;
mod data_operations;
mod data_outside_turns;
mod data_policies;
mod data_toolbelt;
mod data_toolboxes;
mod discord_ask;
mod discord_connections;
mod discord_deaths;
mod discord_faults;
mod discord_interactions;
mod discord_refusals;
mod discord_scene;
mod discord_story;
mod discord_support;
mod discord_workers;
mod discord_workers_support;
mod heartbeat_owners;
mod heartbeat_register;
mod heartbeat_reports;
mod heartbeat_schedule;
mod heartbeat_support;
mod host_pool;
mod project_components;
mod project_docs;
mod project_files;
mod project_manifest;
mod project_tidy;
mod toolbelt_audit;
mod toolbelt_credentials;
mod toolbelt_items;
mod toolbelt_permissions;
mod toolbelt_support;
mod toolbelt_tenants;
mod toolbox_boot;
mod toolbox_deaths;
mod toolbox_faults;
mod toolbox_machines;
mod toolbox_silence;
mod toolbox_story;
mod toolboxes_chains;
mod toolboxes_changes;
mod toolboxes_create;
mod toolboxes_options;
mod toolboxes_pages;
mod toolboxes_refusals;
mod toolboxes_support;
mod toolboxes_tenants;
mod tools_commands;
mod tools_deploy;

//! The fifteen points that the TypeScript original got wrong, each shown right, and what else can go wrong between a device
//! and its server: a real server and real clients over loopback, once by WebSocket and once by HTTP.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conflicts;
mod faults;
mod feed;
mod forgetting;
mod limits;
mod migrations;
mod network;
mod outbox;
mod polling;
mod proxy;
mod rules;
mod slow;
mod tokens;
mod versions;
mod world;

use crate::world::Transport;

/// Each of these as two tests, one for each transport.
macro_rules! on_both_transports {
    ($($module:ident :: $point:ident),* $(,)?) => {
        mod websocket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $point() {
                super::world::within(super::$module::$point(super::Transport::WebSocket)).await;
            })*
        }

        mod http {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $point() {
                super::world::within(super::$module::$point(super::Transport::Http)).await;
            })*
        }
    };
}

on_both_transports! {
    outbox::point_01_inserts_in_a_loop_send_each_change_once,
    feed::point_02_an_acknowledged_push_never_moves_the_checkpoint_past_others_changes,
    feed::point_03_numbers_made_by_a_client_never_enter_the_checkpoint,
    feed::point_04_a_change_by_another_client_arrives_live_with_polling_off,
    feed::point_05_an_empty_collection_list_syncs_all_synced_collections_and_no_local_one,
    outbox::point_06_what_was_written_offline_before_start_and_after_stop_is_all_sent,
    faults::point_07_malformed_pushes_and_failing_or_slow_authentication_leave_the_server_running,
    conflicts::point_08_neither_a_stale_push_nor_a_date_in_the_future_wins_for_ever,
    faults::point_09_a_rate_limited_client_slows_down_and_finishes,
    faults::point_09_a_client_limited_by_bytes_slows_down_and_finishes,
    conflicts::point_10_a_delete_and_an_update_end_the_same_everywhere_and_nothing_comes_back,
    conflicts::point_11_a_change_refused_or_lost_in_a_conflict_is_not_broadcast,
    conflicts::point_12_clients_with_different_strategies_end_with_the_same_documents,
    limits::a_namespace_that_is_full_takes_changes_again_once_there_is_room,
    limits::several_servers_and_engines_in_one_process_share_nothing,
    migrations::devices_that_are_upgraded_at_different_times_agree_and_no_edit_is_lost,
    network::point_13_a_server_restart_loses_no_work_and_leaves_nobody_stuck,
    network::point_14_a_client_comes_back_after_an_outage_of_hours,
    network::point_15_a_network_failure_is_survived,
    network::a_connection_that_is_cut_again_and_again_loses_nothing,
    network::what_a_portal_or_a_broken_proxy_says_is_no_refusal_of_the_server,
    network::a_client_that_changes_its_transport_goes_on_where_it_was,
    network::a_half_open_connection_is_found_by_both_ends,
    network::a_call_on_a_half_open_connection_fails_long_before_a_heartbeat,
    forgetting::a_device_that_was_away_longer_than_the_server_remembers_loses_nothing_and_brings_nothing_back,
    rules::rights_that_closures_give_reach_devices_when_other_closures_take_their_place,
    slow::two_hundred_slow_connections_cost_an_honest_client_nothing_and_are_ended,
    tokens::a_function_of_the_application_is_asked_for_another_token_and_sync_resumes,
    tokens::a_token_that_ends_during_a_session_is_an_error_until_another_one_is_set,
    versions::a_client_of_other_versions_is_told_both_and_nothing_else_happens,
}

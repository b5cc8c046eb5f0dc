//! What happens to whole processes and their directories: restored, copied, stopped, filled, restarted by the hundred. The
//! real binary over real sockets, each by WebSocket and by HTTP.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod copies;
mod device;
mod full_disk;
mod half_open;
mod offline;
mod restored;
mod storm;

use pocket_e2e::on_both_transports;

use self::copies::{
    a_device_restored_from_its_own_backup_gets_back_what_it_sent_since_and_sends_what_is_new,
    two_copies_of_a_database_that_both_go_on_lose_nothing_and_send_nothing_twice,
};
use self::full_disk::{
    a_device_with_a_full_disk_says_so_and_goes_on_when_there_is_room,
    a_server_with_a_full_disk_refuses_for_a_while_and_loses_nothing,
};
use self::half_open::a_server_that_stands_still_is_noticed_and_found_again;
use self::offline::a_hundred_thousand_changes_made_offline_arrive_through_kills;
use self::restored::point_13_a_server_restored_from_yesterday_loses_no_work_and_leaves_nobody_stuck;
use self::storm::two_hundred_clients_are_in_step_again_after_a_restart;

on_both_transports! {
    point_13_a_server_restored_from_yesterday_loses_no_work_and_leaves_nobody_stuck,
    two_copies_of_a_database_that_both_go_on_lose_nothing_and_send_nothing_twice,
    a_device_restored_from_its_own_backup_gets_back_what_it_sent_since_and_sends_what_is_new,
    a_server_that_stands_still_is_noticed_and_found_again,
    two_hundred_clients_are_in_step_again_after_a_restart,
    a_device_with_a_full_disk_says_so_and_goes_on_when_there_is_room,
    a_server_with_a_full_disk_refuses_for_a_while_and_loses_nothing,
    a_hundred_thousand_changes_made_offline_arrive_through_kills,
}

//! A short soak of one board; `cargo xtask soak` runs long ones.

use lightwafer_board_list::ICOUNT_SHIFT;
use lightwafer_tests::soak::{Event, Plan, run};

use super::{options, root, skipped};

#[test]
fn wafers_on_a_line_that_goes_wrong_are_all_answered_rightly() {
    if skipped() {
        return;
    }
    let machine = "mps2-an505";
    let model = root().join("models/light-int8.lw");
    let mut plan = Plan::new(40, 4);
    plan.frames = 0.05;
    plan.events = [
        (Event::ResetInTransfer, 8),
        (Event::ResetInInference, 8),
        (Event::Hang, 16),
        (Event::Unplugged, 8),
    ];
    // A hang takes half a minute of the board's time, which passes quickly so.
    plan.icount_shift = Some(ICOUNT_SHIFT);
    let outcome = run(machine, &options(machine).firmware, &model, &plan, |_| ()).unwrap();
    eprintln!("{outcome:#?}");
    assert_eq!(outcome.wafers, plan.wafers);
    assert_eq!(outcome.events.len(), plan.events.len(), "each happened");
}

//! Random operations on the SQLite driver.

use longshore_queue::testing::conformance::block_on;
use longshore_queue::testing::model::{Step, play};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_keep_the_rules(steps in prop::collection::vec(any::<[u8; 6]>(), 1..120)) {
        let steps: Vec<Step> = steps.into_iter().map(Step::from_bytes).collect();
        let bench = crate::sqlite::bench();
        block_on(play(&bench, &steps));
    }
}

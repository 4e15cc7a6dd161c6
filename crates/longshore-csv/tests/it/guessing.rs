//! What is proposed for an object loads it.

use bytes::Bytes;
use longshore_csv::{FieldRules, Header, Inference, LengthUnit, Options, RecordReader};
use proptest::prelude::*;

use crate::harness::{column, read};

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]{1,12}",
        "-?[0-9]{0,5}\\.[0-9]{0,4}",
        "[0-9]{1,3}e-?[0-9]",
        "20[0-9]{2}-0[1-9]-[0-3][0-9]",
        "20[0-9]{2}-0[1-9]-[0-3][0-9] [0-2][0-9]:[0-6][0-9](:[0-5][0-9](\\.[0-9]{1,7})?)?(Z|\\+02)?",
        "[0-2][0-9]:[0-6][0-9]",
        "true|FALSE|yes|1|0|t",
        "[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[a-zé ]{0,30}",
        "nan|inf|NaN|-Infinity",
        Just(String::new()),
    ]
}

/// Columns of one kind, with an odd value here and there.
fn values() -> impl Strategy<Value = Vec<String>> {
    let kinds = prop_oneof![
        4 => prop::collection::vec("-?[0-9]{1,40}", 1..12).boxed(),
        4 => prop::collection::vec("-?[0-9]{0,38}\\.?[0-9]{0,20}", 1..12).boxed(),
        4 => prop::collection::vec("20[0-9]{2}-0[1-9]-[0-3][0-9]( 12:30(Z)?)?", 1..12).boxed(),
        6 => prop::collection::vec(value(), 1..12).boxed(),
    ];
    kinds.boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_is_proposed_loads_without_rejects(values in values()) {
        let object = values.iter().fold(String::new(), |text, value| text + "x," + value + "\n");
        let options = Options { header: Header::No, ..Options::default() };
        let mut reader = RecordReader::new(&options).unwrap();
        reader.push(Bytes::from(object.clone()));
        reader.finish();
        let mut inference = Inference::new(&FieldRules::default());
        while let Some(record) = reader.next_record().unwrap() {
            inference.observe(&record);
        }
        let proposals = inference.finish(LengthUnit::Characters);
        prop_assert_eq!(proposals.len(), 2);
        let columns: Vec<_> = proposals
            .iter()
            .enumerate()
            .map(|(index, proposal)| {
                let mut column = column(&format!("c{index}"), proposal.ty.clone());
                column.required = !proposal.nullable;
                column
            })
            .collect();
        let found = read(&options, &columns, &object).unwrap();
        prop_assert_eq!(&found.rejects, &[], "{:?}", proposals);
        prop_assert_eq!(found.rows.len(), values.len());
        prop_assert_eq!(found.summary.rounded, 0);
    }
}

use super::*;
use crate::model::Phase;

fn scraped(metrics: &Metrics, now: Now) -> String {
    text(metrics, now).unwrap()
}

fn last(line: &str) -> &str {
    line.rsplit(' ').next().unwrap()
}

#[track_caller]
fn assert_has(text: &str, line: &str) {
    assert!(text.lines().any(|each| each == line), "{line:?} is not in\n{text}");
}

#[test]
fn an_operation_is_counted_by_its_outcome() {
    let metrics = Metrics::default();
    metrics.operation(Verb::Create).end("ok");
    metrics.operation(Verb::Create).end("STEP_FAILED");
    drop(metrics.operation(Verb::Start));
    let text = scraped(&metrics, Now::default());
    assert_has(&text, "sextant_operations_total{verb=\"create\",outcome=\"ok\"} 1");
    assert_has(&text, "sextant_operations_total{verb=\"create\",outcome=\"STEP_FAILED\"} 1");
    assert_has(&text, "sextant_operations_total{verb=\"start\",outcome=\"abandoned\"} 1");
    assert_has(&text, "sextant_operation_duration_seconds_count{verb=\"create\"} 2");
}

#[test]
fn a_request_is_in_flight_until_it_has_ended() {
    let metrics = Metrics::default();
    let mut request = metrics.request(Some("sextant.v1.Containers/Get"));
    let gone = metrics.request(None);
    let text = scraped(&metrics, Now::default());
    assert_has(&text, "sextant_grpc_requests_in_flight{method=\"sextant.v1.Containers/Get\"} 1");
    request.end("OK");
    // The first word counts: a client may go after the end.
    request.end("CANCELLED");
    drop((request, gone));
    let text = scraped(&metrics, Now::default());
    assert_has(&text, "sextant_grpc_requests_in_flight{method=\"sextant.v1.Containers/Get\"} 0");
    assert_has(&text, "sextant_grpc_requests_total{method=\"sextant.v1.Containers/Get\",code=\"OK\"} 1");
    assert_has(&text, "sextant_grpc_requests_total{method=\"other\",code=\"CANCELLED\"} 1");
}

#[test]
fn stages_are_few_whatever_a_journal_says() {
    let metrics = Metrics::default();
    for (command, stage) in
        [("create", "mount/0"), ("create", "mount/17"), ("x", "made-up"), ("y", "made/up")]
    {
        let record = StageRecord {
            command: command.into(),
            stage: stage.into(),
            start_ns: 1_000,
            end_ns: 21_000,
            ..StageRecord::default()
        };
        metrics.stage(&record);
    }
    let text = scraped(&metrics, Now::default());
    let count = "sextant_startup_stage_duration_seconds_count";
    assert_has(&text, &format!("{count}{{command=\"create\",stage=\"mount\"}} 2"));
    assert_has(&text, &format!("{count}{{command=\"other\",stage=\"other\"}} 2"));
    // 20 µs are above the first bound and not above the second.
    let buckets: Vec<&str> = text.lines().filter(|line| line.contains("stage=\"mount\"} ")).collect();
    let counts: Vec<&str> =
        buckets.iter().filter(|line| line.contains("_bucket{")).map(|line| last(line)).collect();
    assert_eq!(counts[..3], ["0", "2", "2"], "{buckets:?}");
}

#[test]
fn names_of_containers_are_only_in_the_series_of_shims() {
    let now = |shims| Now { shims, ..Now::default() };
    let shim = Shim { id: "web".into(), resident_bytes: 4096, private_bytes: 1024 };
    let text = scraped(&Metrics::default(), now(vec![shim]));
    assert_has(&text, "sextant_shim_resident_memory_bytes{container=\"web\"} 4096");
    assert_has(&text, "sextant_shim_private_memory_bytes{container=\"web\"} 1024");
    assert!(!scraped(&Metrics::default(), now(Vec::new())).contains("container="));
}

#[test]
fn every_status_is_there_also_with_no_container() {
    let mut now = Now::default();
    now.count(Phase::Running);
    let text = scraped(&Metrics::default(), now);
    assert_has(&text, "sextant_containers{status=\"running\"} 1");
    assert_has(&text, "sextant_containers{status=\"failed\"} 0");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const TENANTS: [Option<&str>; 4] = [None, Some("acme"), Some("globex"), Some("initech")];
const KINDS: [&str; 5] = ["plain", "ask", "twice", "nobody", "unrouted"];

#[derive(Clone, Debug)]
enum Step {
    Offer { tenant: Option<&'static str>, kind: &'static str },
    Answer { which: Index, found: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let offer = (prop::sample::select(&TENANTS), prop::sample::select(&KINDS)).prop_map(|(tenant, kind)| {
        let kind = if tenant.is_none() { "all" } else { kind };
        Step::Offer { tenant, kind }
    });
    let answer = (any::<Index>(), prop::bool::weighted(0.8)).prop_map(|(which, found)| Step::Answer { which, found });
    // Runs of offers, so that queues form behind what is under way.
    prop_oneof![3 => offer, 1 => answer]
}

/// What should become of an event.
struct Expected {
    id: u64,
    missing: usize,
    goes_out: bool,
}

/// Events by tenant, in the order of their arrival.
#[derive(Default)]
struct Model([Vec<Expected>; TENANTS.len()]);

impl Model {
    fn offered(&mut self, tenant: Option<&str>, kind: &str, id: u64) {
        let missing = match kind {
            "ask" => 1,
            "twice" => 2,
            _ => 0,
        };
        let place = TENANTS.iter().position(|known| *known == tenant).unwrap();
        self.0[place].push(Expected { id, missing, goes_out: !matches!(kind, "nobody" | "unrouted") });
    }

    fn answered(&mut self, id: u64, found: bool) {
        let expected = self.0.iter_mut().flatten().find(|expected| expected.id == id).unwrap();
        expected.missing -= 1;
        expected.goes_out &= found;
    }

    /// All events up to the first that waits, and no more, but those that go to nobody.
    fn handed(&self, tenant: usize) -> Vec<u64> {
        let ready = self.0[tenant].iter().take_while(|expected| expected.missing == 0);
        ready.filter(|expected| expected.goes_out).map(|expected| expected.id).collect()
    }
}

/// The event that a question is about: its id is what it binds.
fn about(ask: &Ask) -> u64 {
    ask.call.binds[0].1.to_string().parse().unwrap()
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut bench = Bench::new();
    let mut model = Model::default();
    let (settled, mut receipts) = mpsc::channel(steps.len() + 1);
    let mut offered = 0;
    for step in steps {
        match step {
            Step::Offer { tenant, kind } => {
                offered += 1;
                model.offered(tenant, kind, offered);
                bench.offer_with(tenant, kind, offered, Receipt::new(offered, settled.clone()));
            }
            Step::Answer { which, found } if !bench.asked.is_empty() => {
                let place = which.index(bench.asked.len());
                answer(&mut bench, &mut model, place, found);
            }
            Step::Answer { .. } => {}
        }
        compare(&bench, &model)?;
    }
    // What is left, the newest question first.
    while let Some(newest) = bench.asked.len().checked_sub(1) {
        answer(&mut bench, &mut model, newest, true);
        compare(&bench, &model)?;
    }
    prop_assert!(bench.lane.is_idle());
    prop_assert_eq!(bench.lane.waiting(), 0);
    let mut tags: Vec<u64> = std::iter::from_fn(|| receipts.try_recv().ok()).collect();
    tags.sort_unstable();
    prop_assert_eq!(tags, (1..=offered).collect::<Vec<_>>(), "every receipt is settled once");
    Ok(())
}

fn answer(bench: &mut Bench, model: &mut Model, place: usize, is_found: bool) {
    model.answered(about(&bench.asked[place]), is_found);
    bench.answer(place, if is_found { found() } else { failed() });
}

fn compare(bench: &Bench, model: &Model) -> Result<(), TestCaseError> {
    for (place, tenant) in TENANTS.into_iter().enumerate() {
        prop_assert_eq!(bench.handed_of(tenant), model.handed(place), "{:?}", tenant);
        prop_assert!(tenant.is_none_or(|tenant| bench.asked_of(tenant) <= TENANT_IN_FLIGHT));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_tenant_gets_its_events_in_order_and_waits_for_its_own_queries_alone(
        steps in prop::collection::vec(step(), 0..300),
    ) {
        run(steps)?;
    }
}

#[test]
fn queries_of_events_that_wait_in_line_are_asked_at_once() {
    let mut bench = Bench::new();
    for id in 0..20 {
        bench.offer(Some("acme"), "ask", id);
    }
    assert_eq!(bench.asked.iter().map(about).collect::<Vec<_>>(), (0..TENANT_IN_FLIGHT as u64).collect::<Vec<_>>());
    bench.answer(2, found());
    assert_eq!(bench.asked.last().map(about), Some(TENANT_IN_FLIGHT as u64));
    assert_eq!(bench.handed, []);
    bench.answer(0, found());
    assert_eq!(bench.handed_of(Some("acme")), [0]);
}

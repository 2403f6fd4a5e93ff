//! An owner that lies: two histories, an old copy, another's entry, changed bytes.

use super::*;

#[tokio::test]
async fn two_histories_are_caught_also_after_a_restart_of_the_reader() {
    let world = World::new();
    let shared = world.shared();
    for number in 0..3 {
        append(&shared, number).await;
    }
    let own = world.office.calendar.lock().unwrap().clone().unwrap();
    // The same key signs another log, which is longer, as long, and shorter than what was seen.
    let other = world.calendar("other");
    for (size, why) in
        [(2, "ends at 2 entries, and 3 were seen"), (3, "does not go on"), (5, "does not go on")]
    {
        for number in 100..100 + size {
            let intent = other.intend(&note(number)).await.unwrap();
            other.submit(&intent).await.unwrap();
        }
        let answer = other.answer(&Request { seen: 0, ask: Ask::Head }).await.unwrap();
        world
            .office
            .bends(move |request, _| Answer { path: vec![Digest::ZERO; 2], ..answer.clone() }.to(request));
        nonsense(shared.head().await, why);
        nonsense(world.shared().status(&note(100), None).await, why);
    }
    world.office.closes();
    *world.office.bend.lock().unwrap() = None;
    world.office.opens(other);
    for reader in [&shared, &world.shared()] {
        nonsense(reader.head().await, "does not go on");
        nonsense(reader.submit(&reader.intend(&note(104)).await.unwrap()).await, "does not go on");
        nonsense(reader.prove(&no_manifest(), &[]).await, "does not go on");
    }
    // Its own history is still that.
    *world.office.calendar.lock().unwrap() = Some(own);
    append(&shared, 3).await;
    assert_eq!(world.shared().head().await.unwrap().height, 4);
}

trait To {
    fn to(self, request: &Request) -> Self;
}

impl To for Answer {
    /// The path that fits a reader that has seen nothing, or one that is made up.
    fn to(self, request: &Request) -> Self {
        if request.seen == 0 { Self { path: vec![], ..self } } else { self }
    }
}

/// Each reader is shown another history, and each while it asks much at once.
#[tokio::test]
async fn what_is_asked_at_the_same_time_is_of_one_history() {
    let world = World::new();
    let (one, other) = (world.calendar("one"), Arc::new(world.calendar("other")));
    for number in 0..40 {
        for calendar in [&one, &other] {
            // Both have the same first entries.
            let number = if std::ptr::eq(calendar, &*other) && number >= 8 { 100 + number } else { number };
            calendar.submit(&calendar.intend(&note(number)).await.unwrap()).await.unwrap();
        }
    }
    let asked: Vec<_> = (0..40).chain(108..140).collect();
    world.office.opens(one);
    let flip = AtomicU64::new(0);
    let answers = Arc::clone(&other);
    world.office.bends(move |request, answer| {
        if flip.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return answer;
        }
        futures_now(answers.answer(request))
    });
    let shared = Arc::new(world.shared());
    let mut tasks = tokio::task::JoinSet::new();
    for number in asked {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move { (number, shared.status(&note(number), None).await) });
    }
    let (mut mine, mut theirs, mut caught) = (0, 0, 0);
    for (number, answer) in tasks.join_all().await {
        match answer {
            Ok(Status::Final(_)) if (8..40).contains(&number) => mine += 1,
            Ok(Status::Final(_)) if number >= 108 => theirs += 1,
            Err(LedgerError::Nonsense { .. }) => caught += 1,
            Ok(Status::Final(_) | Status::Absent) => {}
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(mine == 0 || theirs == 0, "{mine} of one history and {theirs} of another");
    assert!(caught > 0);
}

/// What a calendar says without waiting for anything: it is asked only for what stands.
fn futures_now<T>(future: impl Future<Output = Result<T, crate::calendar::NotAnswered>>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => answer.unwrap(),
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test]
async fn an_old_copy_of_the_file_is_caught_and_so_is_what_grows_from_it() {
    let world = World::new();
    let shared = world.shared();
    append(&shared, 0).await;
    world.office.closes();
    std::fs::copy(world.path("own"), world.path("copy")).unwrap();
    world.office.opens(world.calendar("own"));
    let dropped = append(&shared, 1).await;
    world.office.closes();
    world.office.opens(world.calendar("copy"));
    // The entry that it had taken is gone: nobody is told "absent".
    for reader in [&shared, &world.shared()] {
        nonsense(reader.status(&note(1), None).await, "ends at 1 entries, and 2 were seen");
        nonsense(reader.prove(&no_manifest(), std::slice::from_ref(&dropped)).await.map(drop), "");
    }
    // Others, who have not seen it, append: now it is as long, and then longer.
    let stranger = world.shared_with(Config { path: world.path("stranger.seen"), ..world.config() });
    for number in 2..5 {
        append(&stranger, number).await;
        nonsense(shared.status(&note(1), None).await, "does not go on");
    }
    // It takes the entry again: in another place, after others.
    append(&stranger, 1).await;
    nonsense(found(&shared, 1).await, "does not go on");
}

#[tokio::test]
async fn an_answer_that_is_bent_is_nonsense() {
    let world = World::new();
    let shared = world.shared();
    let [first, second] = [append(&shared, 1).await, append(&shared, 2).await];
    let ask = |number: u64| Ask::Find {
        intent: Wanted::of(shared.profile(), &note(number)).unwrap().to_intent().0,
    };
    let calendar = world.office.calendar.lock().unwrap().clone().unwrap();
    let of = async |ask: Ask| calendar.answer(&Request { seen: 2, ask }).await.unwrap();
    let (other, head, proof) =
        (of(ask(2)).await, of(Ask::Head).await, of(Ask::Prove { indices: vec![1] }).await);

    // Another's entry, an answer to another question, and a right leaf at a wrong place.
    let shown = other.clone();
    world.office.bends(move |_, _| shown.clone());
    nonsense(shared.status(&note(1), None).await, "another entry than the one that was asked for");
    let shown = proof.clone();
    world.office.bends(move |_, _| shown.clone());
    nonsense(shared.status(&note(1), None).await, "another question");
    nonsense(shared.prove(&no_manifest(), std::slice::from_ref(&first)).await, "another question");
    world.office.bends(move |_, answer| match answer.found {
        Found::Stands { mut leaf, cosigned } => {
            leaf.index ^= 1;
            Answer { found: Found::Stands { leaf, cosigned }, ..answer }
        }
        _ => answer,
    });
    nonsense(shared.status(&note(1), None).await, "does not lead to the checkpoint's root");
    world.office.bends(move |_, _| head.clone());
    nonsense(shared.prove(&no_manifest(), std::slice::from_ref(&first)).await, "another question");
    // "Nothing" is not a lie that can be told from the truth: it costs time.
    assert_eq!(shared.status(&note(1), None).await.unwrap(), Status::Absent);

    // Another key.
    let forger = SigningKey::from_bytes(&[8; 32]);
    let log = shared.config.log.clone();
    world.office.bends(move |_, answer| {
        let head = log.head(&answer.checkpoint).unwrap();
        Answer { checkpoint: head.sign(&forger), ..answer }
    });
    nonsense(shared.status(&note(1), None).await, "signed by another key");
    *world.office.bend.lock().unwrap() = None;
    assert_eq!([found(&shared, 1).await.unwrap(), found(&shared, 2).await.unwrap()], [first, second]);
}

/// Of every byte of an answer: it says the same, or nothing that counts.
#[tokio::test]
async fn a_changed_byte_changes_no_evidence() {
    let world = World::new();
    let shared = world.shared();
    let right = append(&shared, 1).await;
    append(&shared, 2).await;
    let wanted = Wanted::of(shared.profile(), &note(1)).unwrap();
    let calendar = world.office.calendar.lock().unwrap().clone().unwrap();
    let request = Request { seen: 2, ask: Ask::Find { intent: wanted.to_intent().0 } };
    let bytes = canonical::encode(&calendar.answer(&request).await.unwrap());
    let newest = shared.seen.lock().await.newest.clone();
    for index in 0..bytes.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[index] ^= bit;
            let Ok(answer) = canonical::decode::<Answer>(&changed, MAX_ANSWER) else { continue };
            let Ok(head) = answer.head(&shared.config.log, &newest.head) else { continue };
            let answer = True { head, at: answer.at, found: answer.found };
            match shared.status_by(&wanted, &answer) {
                Ok(Status::Final(evidence)) => assert_eq!(evidence, right, "byte {index}"),
                Ok(_) | Err(LedgerError::Nonsense { .. }) => {}
                other => panic!("byte {index}: {other:?}"),
            }
        }
    }
}

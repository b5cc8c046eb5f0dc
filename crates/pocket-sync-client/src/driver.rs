//! The driver: one task that feeds a session and does what it says.
//!
//! Everything happens in this one task, also the store's work and the socket's: a frame that arrives is decoded,
//! applied and answered without a hop to another thread.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use pocket_core::ClientId;
use pocket_core::replica::{Answer, Conflict, Engagement, Replica, Resolver, Ruling, Scope};
use pocket_core::storage::BoxFuture;
use pocket_core::storage::ordered::BTreeMap;
use tokio::sync::{mpsc, oneshot, watch};

use crate::auth::{AuthReason, TokenSource};
use crate::config::{RENEWAL_SECONDS, check_token};
use crate::custom::CustomRules;
use crate::listeners::Telling;
use crate::platform::{Instant, Sleep, Task, sleep_until, spawn, timeout};
use crate::session::{Effect, Event, Pass, Session, StoreAnswer, StoreRequest};
use crate::store::perform;
use crate::sweeping::Sweeper;
use crate::transport::{Connection, Incoming, connect};
use crate::watched::Watched;
use crate::{Endpoint, Moment, SyncError};

/// Calls that wait for the driver to take them.
pub(crate) const WAITING_CALLS: usize = 64;

/// What the handle asks of the driver.
pub(crate) enum Control {
    /// With the right to sync this database, which is given back at the next stop.
    Start(Arc<Engagement>, oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
    Command {
        pass: Pass,
        answer: oneshot::Sender<Result<(), SyncError>>,
    },
    Token(Option<String>),
}

/// The connection as the driver holds it; the session's numbers tell old ones from new.
enum Wire {
    None,
    Opening(
        u64,
        BoxFuture<'static, Result<Box<dyn Connection>, SyncError>>,
    ),
    Open(u64, Box<dyn Connection>),
}

pub(crate) struct Driver {
    session: Session,
    replica: Replica,
    scope: Scope,
    resolver: Arc<dyn Resolver>,
    endpoint: Arc<Endpoint>,
    token: Option<String>,
    pull_interval: Duration,
    controls: mpsc::Receiver<Control>,
    outbox: watch::Receiver<u64>,
    watched: Arc<Watched>,
    began: Instant,
    wire: Wire,
    store: Option<BoxFuture<'static, StoreAnswer>>,
    closing: Option<Task<()>>,
    rules: CustomRules,
    resolve_timeout: Duration,
    asking: Option<Asking>,
    token_source: Option<Arc<dyn TokenSource>>,
    renewing: Option<Renewing>,
    timer: Option<Pin<Box<Sleep>>>,
    commands: BTreeMap<u64, oneshot::Sender<Result<(), SyncError>>>,
    last_command: u64,
    stopping: Vec<oneshot::Sender<()>>,
    telling: Option<Telling>,
    engagement: Option<Arc<Engagement>>,
    sweeper: Sweeper,
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) session: Session,
    pub(crate) replica: Replica,
    pub(crate) scope: Scope,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) endpoint: Endpoint,
    pub(crate) token: Option<String>,
    pub(crate) pull_interval: Duration,
    pub(crate) rules: CustomRules,
    pub(crate) resolve_timeout: Duration,
    pub(crate) token_source: Option<Arc<dyn TokenSource>>,
    pub(crate) controls: mpsc::Receiver<Control>,
    pub(crate) watched: Arc<Watched>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let outbox = parts.replica.outbox_signal();
        parts
            .watched
            .outbox_seen
            .store(*outbox.borrow(), Ordering::Release);
        let journal = parts.replica.database().journal();
        let telling = Telling::new(journal, parts.watched.clone());
        Self {
            outbox,
            telling: Some(telling),
            engagement: None,
            sweeper: Sweeper::new(parts.replica.clone()),
            session: parts.session,
            replica: parts.replica,
            scope: parts.scope,
            resolver: parts.resolver,
            endpoint: Arc::new(parts.endpoint),
            token: parts.token,
            pull_interval: parts.pull_interval,
            controls: parts.controls,
            watched: parts.watched,
            began: Instant::now(),
            wire: Wire::None,
            store: None,
            closing: None,
            rules: parts.rules,
            resolve_timeout: parts.resolve_timeout,
            asking: None,
            token_source: parts.token_source,
            renewing: None,
            timer: None,
            commands: BTreeMap::new(),
            last_command: 0,
            stopping: Vec::new(),
        }
    }

    /// Runs until the last handle is gone and what is under way has ended.
    pub(crate) async fn run(mut self) {
        while let Some(event) = self.next_event().await {
            self.handle(event);
            self.acknowledge_stops().await;
        }
        self.handle(Event::Stop);
        self.finish().await;
        if let Some(telling) = self.telling.take() {
            let last = *self.watched.journaled.borrow();
            telling.end(last).await;
        }
    }

    async fn next_event(&mut self) -> Option<Event> {
        // Before the store's turn, which may take a while in this very task: the server works meanwhile.
        poll_fn(|context| {
            if let Wire::Open(_, socket) = &mut self.wire {
                socket.write(context);
            }
            Poll::Ready(())
        })
        .await;
        tokio::select! {
            control = self.controls.recv() => Some(self.control(control?)),
            answer = answer(&mut self.store) => Some(Event::Stored(answer)),
            event = incoming(&mut self.wire) => Some(event),
            event = answered(&mut self.asking) => Some(event),
            answer = renewed(&mut self.renewing) => Some(self.take_token(answer)),
            () = elapsed(&mut self.timer) => Some(Event::Timer),
            never = self.sweeper.run(), if self.engagement.is_some() => match never {},
            // The database lives as long as the replica, so its sender does too.
            _ = self.outbox.changed() => Some(Event::OutboxGrew),
        }
    }

    fn control(&mut self, control: Control) -> Event {
        match control {
            Control::Start(engagement, done) => {
                self.engagement = Some(engagement);
                let _ = done.send(());
                Event::Start
            }
            Control::Stop(done) => {
                self.stopping.push(done);
                Event::Stop
            }
            Control::Command { pass, answer } => {
                self.last_command += 1;
                self.commands.insert(self.last_command, answer);
                Event::Command {
                    id: self.last_command,
                    pass,
                }
            }
            Control::Token(token) => {
                self.token.clone_from(&token);
                self.renewing = None;
                Event::TokenChanged(token)
            }
        }
    }

    fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn handle(&mut self, event: Event) {
        if let Event::Stored(StoreAnswer::Attached(_)) = event {
            self.sweeper.attached();
        }
        let grown = matches!(event, Event::OutboxGrew).then(|| *self.outbox.borrow_and_update());
        for effect in self.session.handle(self.now(), event) {
            self.carry_out(effect);
        }
        if let Some(grown) = grown {
            // Only now: the status that follows from it is published.
            self.watched.outbox_seen.store(grown, Ordering::Release);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Open { connection } => self.open(connection),
            Effect::Close { code, reason } => self.close(code, reason),
            Effect::Send(frame) => {
                if let Wire::Open(_, socket) = &mut self.wire {
                    socket.limit(self.session.message_bytes());
                    socket.send(frame);
                }
            }
            Effect::Store { client, request } => {
                if let (StoreRequest::Attach(attachment), Some(client)) = (&request, client) {
                    self.sweeper.greeted(client, attachment.server_time);
                }
                self.store = Some(self.perform(client, request));
            }
            Effect::Ask { batch, conflicts } => self.ask(batch, conflicts),
            Effect::Renew(reason) => self.renew(reason),
            Effect::Timer(deadline) => {
                self.timer = deadline.map(|deadline| {
                    let at = self.began + Duration::from_millis(deadline.millis());
                    Box::pin(sleep_until(at))
                });
            }
            Effect::Publish(snapshot) => self.watched.publish(*snapshot),
            Effect::Finished { id, result } => {
                if let Some(answer) = self.commands.remove(&id) {
                    // Whoever asked may have gone away.
                    let _ = answer.send(result);
                }
            }
        }
    }

    fn open(&mut self, connection: u64) {
        let (endpoint, token) = (self.endpoint.clone(), self.token.clone());
        let interval = self.pull_interval;
        let opening = async move { connect(&endpoint, token.as_deref(), interval).await };
        self.wire = Wire::Opening(connection, Box::pin(opening));
    }

    fn close(&mut self, code: u16, reason: String) {
        if let Wire::Open(_, socket) = std::mem::replace(&mut self.wire, Wire::None) {
            self.closing = Some(spawn(socket.close(code, reason)));
        }
    }

    fn renew(&mut self, reason: AuthReason) {
        let source = self.token_source.clone();
        let answer = async move {
            let source = source.ok_or("nobody gives tokens")?;
            let token = source.token(reason).await?;
            check_token(&token).map_err(|error| error.message().to_owned())?;
            Ok(token)
        };
        let in_time = async {
            let limit = Duration::from_secs(RENEWAL_SECONDS);
            let late = || Err(format!("there was no answer within {RENEWAL_SECONDS} s"));
            timeout(limit, answer).await.unwrap_or_else(|_| late())
        };
        self.renewing = Some(Renewing(spawn(in_time)));
    }

    /// What connections are opened with is the driver's to know, too.
    fn take_token(&mut self, answer: Result<String, String>) -> Event {
        if let Ok(token) = &answer {
            self.token = Some(token.clone());
        }
        Event::Renewed(answer)
    }

    fn ask(&mut self, batch: u64, conflicts: Vec<Conflict>) {
        let answers = conflicts
            .into_iter()
            .map(|conflict| answer_in_time(self.rules.clone(), self.resolve_timeout, conflict));
        let task = spawn(join_all(answers));
        self.asking = Some(Asking { batch, task });
    }

    fn perform(
        &self,
        client: Option<ClientId>,
        request: StoreRequest,
    ) -> BoxFuture<'static, StoreAnswer> {
        let (replica, scope, resolver) = (
            self.replica.clone(),
            self.scope.clone(),
            self.resolver.clone(),
        );
        let watched = self.watched.clone();
        Box::pin(async move {
            let answer = perform(&replica, &scope, &resolver, client, request).await;
            tell(&watched, &answer);
            answer
        })
    }

    /// A stop is done when nothing of this engine touches the database or the network any more.
    async fn acknowledge_stops(&mut self) {
        if self.stopping.is_empty() {
            return;
        }
        self.finish().await;
        let last = *self.watched.journaled.borrow();
        if let Some(telling) = &mut self.telling {
            telling.caught_up(last).await;
        }
        self.engagement = None;
        self.watched.rests();
        for done in self.stopping.drain(..) {
            let _ = done.send(());
        }
    }

    async fn finish(&mut self) {
        if let Some(mut asking) = self.asking.take() {
            asking.task.abort();
            let _ = (&mut asking.task).await;
        }
        self.renewing = None;
        if self.store.is_some() {
            let answer = answer(&mut self.store).await;
            self.handle(Event::Stored(answer));
        }
        self.sweeper.rest().await;
        if let Some(closing) = self.closing.take() {
            let _ = closing.await;
        }
    }
}

/// Questions to the application, on a task of their own: what they do holds up nothing else.
struct Asking {
    batch: u64,
    task: Task<Vec<Answer>>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A question for another token; dropping it ends its task.
struct Renewing(Task<Result<String, String>>);

impl Drop for Renewing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn renewed(renewing: &mut Option<Renewing>) -> Result<String, String> {
    let Some(open) = renewing else {
        return std::future::pending().await;
    };
    let answer = (&mut open.0).await;
    *renewing = None;
    answer.unwrap_or_else(|error| Err(format!("the function for it broke off: {error}")))
}

async fn answered(asking: &mut Option<Asking>) -> Event {
    let Some(open) = asking else {
        return std::future::pending().await;
    };
    // Without answers the same is asked again.
    let answers = (&mut open.task).await.unwrap_or_default();
    let batch = open.batch;
    *asking = None;
    Event::Answered { batch, answers }
}

async fn answer_in_time(rules: CustomRules, limit: Duration, conflict: Conflict) -> Answer {
    let reason = format!("it gave no answer within {} ms", limit.as_millis());
    let late = Answer {
        conflict: conflict.clone(),
        ruling: Ruling::Failed { reason },
    };
    timeout(limit, rules.answer(conflict)).await.unwrap_or(late)
}

/// Tells those who want to hear of it that the journal has new entries.
fn tell(watched: &Watched, answer: &StoreAnswer) {
    let (journaled, violations) = match answer {
        StoreAnswer::Settled(settled) => (&settled.journaled, &settled.violations),
        StoreAnswer::Applied(applied) | StoreAnswer::Swept(applied) => {
            (&applied.journaled, &applied.violations)
        }
        StoreAnswer::Resolved(resolved) => (&resolved.journaled, &resolved.violations),
        _ => return,
    };
    if let Some(last) = journaled.iter().chain(violations).max() {
        watched
            .journaled
            .send_modify(|told| *told = (*told).max(*last));
    }
}

async fn answer(store: &mut Option<BoxFuture<'static, StoreAnswer>>) -> StoreAnswer {
    let answer = match store {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    };
    *store = None;
    answer
}

async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
    *timer = None;
}

/// What the connection brings next. Safe to drop at any time: what it holds stays in `wire`.
async fn incoming(wire: &mut Wire) -> Event {
    match wire {
        Wire::None => std::future::pending().await,
        Wire::Opening(connection, opening) => {
            let connection = *connection;
            let opened = opening.await;
            match opened {
                Ok(socket) => {
                    *wire = Wire::Open(connection, socket);
                    Event::Opened { connection }
                }
                Err(error) => {
                    *wire = Wire::None;
                    Event::Refused { connection, error }
                }
            }
        }
        Wire::Open(connection, socket) => {
            let connection = *connection;
            match poll_fn(|context| socket.poll(context)).await {
                Incoming::Frame(bytes) => Event::Frame { connection, bytes },
                Incoming::Refused(error) => {
                    *wire = Wire::None;
                    Event::Refused { connection, error }
                }
                Incoming::Closed { code, reason } => {
                    *wire = Wire::None;
                    Event::Closed {
                        connection,
                        code,
                        reason,
                    }
                }
            }
        }
    }
}

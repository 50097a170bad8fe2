// A FHIR R4 server for tests: HAPI FHIR's RestfulServer (parser, REST, paging, CapabilityStatement) over a map.
//
//     java -cp 'lib/*' Server.java PORT [TOKEN]
//
// Prints its base URL once it listens on loopback; port 0 takes a free one. With TOKEN, whoever does not bear it is
// refused. Pages have at most 20 entries.

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.interceptor.api.Hook;
import ca.uhn.fhir.interceptor.api.Interceptor;
import ca.uhn.fhir.interceptor.api.Pointcut;
import ca.uhn.fhir.rest.annotation.*;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.server.RequestDetails;
import ca.uhn.fhir.rest.param.StringParam;
import ca.uhn.fhir.rest.server.FifoMemoryPagingProvider;
import ca.uhn.fhir.rest.server.IResourceProvider;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.exceptions.*;
import ca.uhn.fhir.util.ResourceReferenceInfo;
import java.util.*;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.ServerConnector;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r4.model.*;

public class Server {
    static final FhirContext FHIR = FhirContext.forR4();

    static final List<Class<? extends Resource>> TYPES = List.of(
            AllergyIntolerance.class, AuditEvent.class, Condition.class, DocumentReference.class, Encounter.class,
            Immunization.class, MedicationRequest.class, Observation.class, Organization.class, Patient.class,
            Practitioner.class, Procedure.class, Provenance.class);

    /** By type, then id; the current version of each. */
    static final Map<String, Map<String, Resource>> STORE = new TreeMap<>();

    static Resource keep(Resource resource, String id, long version) {
        Resource kept = resource.copy();
        kept.setId(new IdType(resource.fhirType(), id, Long.toString(version)));
        kept.getMeta().setVersionId(Long.toString(version)).setLastUpdated(new Date());
        STORE.get(resource.fhirType()).put(id, kept);
        return kept;
    }

    static MethodOutcome outcome(Resource kept, boolean created) {
        return new MethodOutcome(kept.getIdElement(), created).setResource(kept);
    }

    static MethodOutcome put(Resource resource, IdType id) {
        Resource old = STORE.get(resource.fhirType()).get(id.getIdPart());
        long version = old == null ? 0 : old.getMeta().getVersionId().isEmpty() ? 0
                : Long.parseLong(old.getMeta().getVersionId());
        // HAPI hands If-Match on as the version of the id.
        if (id.hasVersionIdPart() && id.getVersionIdPartAsLong() != version)
            throw new PreconditionFailedException("the server has version " + version);
        return outcome(keep(resource, id.getIdPart(), version + 1), old == null);
    }

    static MethodOutcome create(Resource resource, String condition) {
        if (condition != null) {
            String value = java.net.URLDecoder.decode(
                    condition.substring(condition.indexOf("identifier=") + 11), java.nio.charset.StandardCharsets.UTF_8);
            List<Resource> found = new ArrayList<>();
            for (Resource it : STORE.get(resource.fhirType()).values())
                for (Base identifier : it.getNamedProperty("identifier").getValues())
                    if (value.equals(((Identifier) identifier).getSystem() + "|" + ((Identifier) identifier).getValue()))
                        found.add(it);
            if (found.size() > 1) throw new PreconditionFailedException("several resources have it");
            if (found.size() == 1) return outcome(found.get(0), false);
        }
        return outcome(keep(resource, UUID.randomUUID().toString(), 1), true);
    }

    /** Whether a resource refers to the patient, or is the patient. */
    static boolean about(Resource resource, String patient) {
        if (resource instanceof Patient) return resource.getIdElement().getIdPart().equals(patient);
        for (ResourceReferenceInfo it : FHIR.newTerser().getAllResourceReferences(resource))
            if (("Patient/" + patient).equals(it.getResourceReference().getReferenceElement().toUnqualifiedVersionless().getValue()))
                return true;
        return false;
    }

    static List<IBaseResource> where(String type, java.util.function.Predicate<Resource> wanted) {
        synchronized (STORE) {
            List<IBaseResource> found = new ArrayList<>();
            STORE.forEach((name, all) -> {
                if (type == null || type.equals(name)) all.values().stream().filter(wanted).forEach(found::add);
            });
            return found;
        }
    }

    public static class Provider implements IResourceProvider {
        final Class<? extends Resource> type;
        Provider(Class<? extends Resource> type) { this.type = type; }

        @Override public Class<? extends IBaseResource> getResourceType() { return type; }

        @Read public IBaseResource read(@IdParam IdType id) {
            Resource found = STORE.get(type.getSimpleName()).get(id.getIdPart());
            if (found == null) throw new ResourceNotFoundException(id);
            return found;
        }

        @Create public MethodOutcome create(@ResourceParam IBaseResource resource, @ConditionalUrlParam String condition) {
            synchronized (STORE) { return Server.create((Resource) resource, condition); }
        }

        @Update public MethodOutcome update(@IdParam IdType id, @ResourceParam IBaseResource resource) {
            synchronized (STORE) { return put((Resource) resource, id); }
        }

        @Search public List<IBaseResource> search(@OptionalParam(name = "_id") StringParam id,
                @OptionalParam(name = "patient") StringParam patient) {
            return where(type.getSimpleName(), it ->
                    (id == null || it.getIdElement().getIdPart().equals(id.getValue()))
                            && (patient == null || about(it, patient.getValue())));
        }
    }

    public static class Patients extends Provider {
        Patients() { super(Patient.class); }

        @Operation(name = "$everything", idempotent = true)
        public ca.uhn.fhir.rest.api.server.IBundleProvider everything(@IdParam IdType id) {
            List<IBaseResource> found = where(null, it -> about(it, id.getIdPart()));
            if (found.isEmpty()) throw new ResourceNotFoundException(id);
            return new ca.uhn.fhir.rest.server.SimpleBundleProvider(found);
        }
    }

    public static class Whole {
        @Transaction public Bundle transaction(@TransactionParam Bundle bundle) {
            synchronized (STORE) {
                Bundle response = new Bundle();
                response.setType(Bundle.BundleType.TRANSACTIONRESPONSE);
                for (Bundle.BundleEntryComponent entry : bundle.getEntry()) {
                    Bundle.BundleEntryRequestComponent request = entry.getRequest();
                    MethodOutcome done = request.getMethod() == Bundle.HTTPVerb.PUT
                            ? put(entry.getResource(), new IdType(request.getUrl()))
                            : Server.create(entry.getResource(), request.getIfNoneExist());
                    response.addEntry().getResponse()
                            .setStatus(Boolean.TRUE.equals(done.getCreated()) ? "201 Created" : "200 OK")
                            .setLocation(done.getId().getValue());
                }
                return response;
            }
        }
    }

    @Interceptor public static class Guard {
        final String token;
        Guard(String token) { this.token = token; }

        @Hook(Pointcut.SERVER_INCOMING_REQUEST_PRE_HANDLED) public void check(RequestDetails request) {
            if (!("Bearer " + token).equals(request.getHeader("Authorization")))
                throw new AuthenticationException("the token is missing or wrong");
        }
    }

    public static void main(String[] arguments) throws Exception {
        TYPES.forEach(type -> STORE.put(type.getSimpleName(), new LinkedHashMap<>()));
        // What is no R4 is refused and not overlooked.
        FHIR.setParserErrorHandler(new ca.uhn.fhir.parser.StrictErrorHandler());
        RestfulServer fhir = new RestfulServer(FHIR);
        for (Class<? extends Resource> type : TYPES)
            fhir.registerProvider(type == Patient.class ? new Patients() : new Provider(type));
        fhir.registerProvider(new Whole());
        FifoMemoryPagingProvider pages = new FifoMemoryPagingProvider(100);
        pages.setDefaultPageSize(20);
        pages.setMaximumPageSize(20);
        fhir.setPagingProvider(pages);
        if (arguments.length > 1) fhir.registerInterceptor(new Guard(arguments[1]));
        org.eclipse.jetty.server.Server http = new org.eclipse.jetty.server.Server();
        ServerConnector connector = new ServerConnector(http);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(arguments[0]));
        http.addConnector(connector);
        ServletContextHandler context = new ServletContextHandler();
        context.setContextPath("/");
        context.addServlet(new ServletHolder(fhir), "/fhir/*");
        http.setHandler(context);
        http.start();
        System.out.println("http://127.0.0.1:" + connector.getLocalPort() + "/fhir");
        http.join();
    }
}
